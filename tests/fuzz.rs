//! A bounded run of what `fuzz/` runs without end: each file of the corpus, and changes of it, the same in each run.
//! `ZS_TEST_FUZZ_COUNT=N` for more; with `--nocapture` the last number said is the one that crashed.

use std::path::PathBuf;

/// How many changes, so that each target takes a few seconds without optimisation.
const COUNTS: &[(&str, u64)] = &[
    ("config", 12_000),
    ("disk", 1200),
    ("inventory", 4000),
    ("names", 300_000),
    ("script", 400),
    ("stream", 300_000),
    ("xml", 6000),
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides.max(1)
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|f| std::fs::read(f).expect("a file")).collect()
}

/// Words that mean something to one reader or another, and numbers where they are large.
const WORDS: &[&[u8]] = &[
    b"<a>",
    b"</",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"'",
    b"`${",
    b"/*",
    b"|x|",
    b"@",
    b"..",
    b"-1",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\0\0\0\x80",
    b"99999999999999999999",
    b"\xef\xbb\xbf",
    "名".as_bytes(),
    b"\n",
    b"\r\n",
    b"&",
    b",",
];

fn changed(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut data = seeds[dice.roll(seeds.len())].clone();
    // Large ones are mostly zeros, which nobody reads.
    let used: Vec<usize> = (0..data.len()).filter(|i| data[*i] != 0).collect();
    for _ in 0..1 + dice.roll(8) {
        if data.is_empty() {
            break;
        }
        let at = match used.get(dice.roll(used.len())) {
            Some(at) if *at < data.len() => *at,
            _ => dice.roll(data.len()),
        };
        match dice.roll(6) {
            0 => data[at] ^= 1 << dice.roll(8),
            1 => data[at] = dice.roll(256) as u8,
            2 => {
                let word = WORDS[dice.roll(WORDS.len())];
                let end = data.len().min(at + word.len());
                data[at..end].copy_from_slice(&word[..end - at]);
            }
            // Those that are a disk keep their size but for this one.
            3 if dice.roll(20) == 0 || data.len() < 16384 => data.truncate(at),
            4 if data.len() < 16384 => {
                data.splice(at..at, WORDS[dice.roll(WORDS.len())].iter().copied());
            }
            5 if data.len() < 16384 => {
                let end = data.len().min(at + dice.roll(64));
                let again = data[at..end].to_vec();
                data.splice(at..at, again);
            }
            _ => data[at] = data[at].wrapping_add(1),
        }
    }
    data
}

fn bounded(target: &str) {
    let (_, run) = zs::fuzzing::TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let (_, count) = COUNTS.iter().find(|(name, _)| *name == target).expect("a count");
    let count = std::env::var("ZS_TEST_FUZZ_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(*count);
    let seeds = corpus(target);
    assert!(!seeds.is_empty(), "{target} has no corpus");
    seeds.iter().for_each(|seed| run(seed));
    for number in 0..count {
        println!("{target} {number}");
        run(&changed(&seeds, &mut Dice((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)));
    }
}

/// On a stack as scripts have one: the readers of text are as deep as it.
fn on_a_large_stack(target: &'static str) {
    let thread = std::thread::Builder::new().stack_size(zs::host::engine::STACK).spawn(move || bounded(target));
    thread.expect("a thread").join().unwrap_or_else(|e| std::panic::resume_unwind(e));
}

#[test]
fn config() {
    on_a_large_stack("config");
}

#[test]
fn disk() {
    on_a_large_stack("disk");
}

#[test]
fn inventory() {
    on_a_large_stack("inventory");
}

#[test]
fn names() {
    on_a_large_stack("names");
}

#[test]
fn script() {
    on_a_large_stack("script");
}

#[test]
fn stream() {
    on_a_large_stack("stream");
}

#[test]
fn xml() {
    on_a_large_stack("xml");
}

/// What is fuzzed without end is run here too, and each has seeds that are read well, so that changes of them get far.
#[test]
fn every_target_is_run() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    for (name, _) in zs::fuzzing::TARGETS {
        assert!(COUNTS.iter().any(|(n, _)| n == name), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
    let text = |target: &str, name: &str| {
        std::fs::read_to_string(format!("{}/fuzz/corpus/{target}/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a seed")
    };
    assert!(zs::config::Config::parse(&text("config", "readme.toml")).is_ok());
    assert!(
        zs::helpers::inventory::parse("x", text("inventory", "hosts.csv").as_bytes()).is_ok_and(|i| !i.rows.is_empty())
    );
    let seen = |name: &str| {
        zs::fuzzing::listing(
            &std::fs::read(format!("{}/fuzz/corpus/disk/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a seed"),
        )
    };
    for disk in ["ext2", "ext4", "ext4-inline", "gpt", "mbr"] {
        assert!(seen(disk).contains(&"etc".to_string()), "{disk}: {:?}", seen(disk));
    }
}
