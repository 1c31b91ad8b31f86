//! Sizes and times as people read them, by the names of fields.

use crate::helpers::units::human_size;
use rhai::Dynamic;

/// Fields that hold bytes.
const SIZES: &[&str] = &[
    "size",
    "memory",
    "max_memory",
    "used_memory",
    "disk",
    "capacity",
    "allocation",
    "available",
    "used",
    "used_size",
    "provisioned_size",
    "total_size",
    "object_size",
    "stripe_unit",
    "overlap",
    "bytes",
    "bytes_used",
    "stored",
    "max_avail",
    "free",
    "total",
];

/// The field's value for people, where it is a size or a time.
pub fn human(field: &str, value: &Dynamic) -> Option<String> {
    if let (true, Ok(n)) = (SIZES.contains(&field), value.as_int()) {
        return u64::try_from(n).ok().filter(|n| *n >= 1024).map(|n| human_size(n).replace(".0 ", " "));
    }
    let text = value.read_lock::<rhai::ImmutableString>()?;
    // RFC 3339, which nothing else that ends with a zone looks like.
    let is_time =
        text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T') && text.starts_with(|c: char| c.is_ascii_digit());
    let time: jiff::Timestamp = text.parse().ok().filter(|_| is_time)?;
    Some(time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string())
}
