//! Sizes and times as people write them.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// "7G", "7GiB": binary; "7GB": decimal, as in virsh; a bare number: bytes.
pub fn parse_size(text: &str) -> Result<u64> {
    let bad = |why: &str| {
        Error::invalid(format!("is not a size{why}"))
            .subject(text)
            .hint("sizes are bytes or a number with a unit: 512M, 7G, 7GiB (binary), 7GB (decimal)")
    };
    let t = text.trim();
    let split = t.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(t.len());
    let (number, unit) = (&t[..split], t[split..].trim());
    let factor: u128 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "p" | "pib" => 1 << 50,
        "e" | "eib" => 1 << 60,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "pb" => 1_000_000_000_000_000,
        _ => return Err(bad("")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (fraction.is_empty() && number.contains('.')) {
        return Err(bad(""));
    }
    let digits = |s: &str| if s.is_empty() { Ok(0) } else { s.parse::<u128>().map_err(|_| bad("")) };
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let total = digits(whole)?
        .checked_mul(scale)
        .and_then(|w| w.checked_add(digits(fraction).ok()?))
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| bad(": too large"))?;
    if total % scale != 0 && factor == 1 {
        return Err(bad(": half a byte"));
    }
    // Rhai's integers are signed.
    i64::try_from(total / scale).map(i64::unsigned_abs).map_err(|_| bad(": too large"))
}

/// "90", "90s", "5m", "2h", "7d".
pub fn parse_duration(text: &str) -> Result<Duration> {
    let bad = || {
        Error::invalid("is not a length of time").subject(text).hint("write a number of seconds, or 90s, 5m, 2h, 7d")
    };
    let t = text.trim();
    let split = t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    let n: u64 = t[..split].parse().map_err(|_| bad())?;
    let factor = match t[split..].trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(bad()),
    };
    n.checked_mul(factor).map(Duration::from_secs).ok_or_else(bad)
}

/// For people: "7.0 GiB".
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut rest = bytes as f64;
    while rest >= 1024.0 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{rest:.1} {}", UNITS[unit]) }
}

/// For option structs: `#[serde(deserialize_with = "units::opt_size")]` takes bytes or "64K".
pub fn opt_size<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Option::<Size>::deserialize(d)? {
        None => Ok(None),
        Some(Size::Bytes(n)) => Ok(Some(n)),
        Some(Size::Text(t)) => parse_size(&t).map(Some).map_err(|e| serde::de::Error::custom(e.message)),
    }
}

/// As [`opt_size`], for a size that is there.
pub fn size<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<u64, D::Error> {
    opt_size(d).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("7G", 7 << 30),
            ("7 GiB", 7 << 30),
            ("7GB", 7_000_000_000),
            ("1.5K", 1536),
            ("512m", 512 << 20),
            ("65536", 65536),
        ] {
            assert_eq!(parse_size(text).ok(), Some(bytes), "{text}");
        }
        for bad in ["", "G", "-1", "1.", "1.5", "7X", "512HDD", "128 SD", "99999999999G", "1e3"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90").ok(), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("7d").ok(), Some(Duration::from_secs(604_800)));
        assert!(parse_duration("").is_err() && parse_duration("5x").is_err() && parse_duration("-1").is_err());
    }
}
