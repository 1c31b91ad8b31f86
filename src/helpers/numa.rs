//! The NUMA column: where a VM's memory and processors are to be on the host.

use serde::{Deserialize, Serialize};

/// `0(24 25 26 27)`: node 0, there the CPUs 24 to 27. Without CPUs all of the nodes' will do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numa {
    pub nodes: Vec<i64>,
    pub cpus: Vec<i64>,
}

/// Reads a cell: nodes, each with or without the CPUs in parentheses; numbers apart by blanks or commas, ranges as
/// `24-27`. `None` for anything else.
pub fn parse(cell: &str) -> Option<Numa> {
    let mut numa = Numa::default();
    let mut rest = cell.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '(']).unwrap_or(rest.len());
        numa.nodes.extend(range(&rest[..end])?);
        rest = rest[end..].trim_start();
        if let Some(inside) = rest.strip_prefix('(') {
            let (cpus, after) = inside.split_once(')')?;
            for part in cpus.split([' ', ',']).filter(|p| !p.is_empty()) {
                numa.cpus.extend(range(part)?);
            }
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    for list in [&mut numa.nodes, &mut numa.cpus] {
        list.sort_unstable();
        list.dedup();
    }
    (!numa.nodes.is_empty()).then_some(numa)
}

/// `3` or `3-5`. No host has more than some thousand of either.
fn range(text: &str) -> Option<std::ops::RangeInclusive<i64>> {
    let number = |t: &str| t.parse::<u16>().ok().filter(|n| *n < 8192).map(i64::from);
    match text.split_once('-') {
        Some((a, b)) => Some(number(a)?..=number(b)?).filter(|r| !r.is_empty()),
        None => number(text).map(|n| n..=n),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_people_write() {
        let read = |cell: &str| parse(cell).map(|n| (n.nodes, n.cpus));
        assert_eq!(read("0"), Some((vec![0], vec![])));
        assert_eq!(read("0 1"), Some((vec![0, 1], vec![])));
        assert_eq!(read("0(24 25 26 27)"), Some((vec![0], vec![24, 25, 26, 27])));
        assert_eq!(read("0(24-26), 1(30)"), Some((vec![0, 1], vec![24, 25, 26, 30])));
        assert_eq!(read("0 (0,1)"), Some((vec![0], vec![0, 1])));
        for cell in ["", "x", "0(", "(1)", "0(1))", "-1", "0(3-1)", "99999", "0-"] {
            assert_eq!(read(cell), None, "{cell}");
        }
    }
}
