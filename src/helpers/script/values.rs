//! Identifiers, sizes, clocks.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::error::Error;
    use crate::host::values::{RhaiResultOf, size as size_of_value, throw};
    use rhai::Dynamic;
    use std::time::Instant;

    /// Random identifiers.
    pub type Uuid = crate::helpers::script::UuidHandle;

    /// Clocks.
    pub type Time = crate::helpers::script::Time;

    /// Makes a random UUID (version 4).
    /// # Example
    /// ```rhai
    /// uuid.v4().len()
    /// ```
    #[rhai_fn(name = "v4", pure)]
    pub fn uuid_v4(_uuid: &mut Uuid) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    /// Derives a UUID from text (version 5): the same text, the same UUID on every host.
    /// # Example
    /// ```rhai
    /// uuid.v5("client.libvirt secret") == uuid.v5("client.libvirt secret")
    /// ```
    #[rhai_fn(name = "v5", pure)]
    pub fn uuid_v5(_uuid: &mut Uuid, text: &str) -> String {
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, text.as_bytes()).to_string()
    }

    /// Makes a random MAC address of the range that qemu's guests use.
    /// # Example
    /// ```rhai
    /// uuid.mac().starts_with("52:54:00:")
    /// ```
    #[rhai_fn(name = "mac", pure)]
    pub fn uuid_mac(_uuid: &mut Uuid) -> String {
        let b = *uuid::Uuid::new_v4().as_bytes();
        format!("52:54:00:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2])
    }

    /// Gives the present time as RFC 3339 text, UTC.
    /// # Example
    /// ```rhai
    /// time.now().len() > 10
    /// ```
    #[rhai_fn(name = "now", pure)]
    pub fn time_now(_time: &mut Time) -> String {
        crate::host::gate::now()
    }

    /// Gives the seconds since a time in RFC 3339 text, as listings have it.
    /// # Errors
    /// `invalid` for other text.
    /// # Example
    /// ```rhai
    /// time.age(time.now()) < 60
    /// ```
    #[rhai_fn(name = "age", pure, return_raw)]
    pub fn time_age(_time: &mut Time, text: &str) -> RhaiResultOf<i64> {
        let then: jiff::Timestamp = text
            .parse()
            .map_err(|_| throw(Error::invalid("is not a time in RFC 3339").op("time.age").subject(text)))?;
        Ok(jiff::Timestamp::now().as_second() - then.as_second())
    }

    /// Gives milliseconds of a clock that only goes forward.
    /// # Example
    /// ```rhai
    /// time.ms() <= time.ms()
    /// ```
    #[rhai_fn(name = "ms", pure)]
    pub fn time_ms(_time: &mut Time) -> i64 {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        i64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Reads a size such as "7G" as bytes.
    /// # Errors
    /// `invalid`.
    /// # Example
    /// ```rhai
    /// size("7G") == 7 * 1024 * 1024 * 1024 && size(512) == 512
    /// ```
    #[rhai_fn(name = "size", return_raw)]
    pub fn size(size: Dynamic) -> RhaiResultOf<i64> {
        Ok(i64::try_from(size_of_value("size", &size)?).unwrap_or(i64::MAX))
    }

    /// Shows bytes for people: "7.0 GiB".
    /// # Example
    /// ```rhai
    /// human(7 * 1024 * 1024 * 1024)
    /// ```
    #[rhai_fn(name = "human")]
    pub fn human(count: i64) -> String {
        crate::helpers::units::human_size(u64::try_from(count).unwrap_or(0))
    }
}
