//! Reading and editing XML.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::host::gate::lock;
    use crate::host::values::{Raise, RhaiResultOf, throw};
    use rhai::{Array, Dynamic};

    /// Reading and editing XML.
    pub type Xml = crate::helpers::script::XmlHandle;

    /// A parsed XML document.
    pub type XmlDocument = crate::helpers::script::XmlDocument;

    /// Parses XML.
    ///
    /// # Errors
    /// `invalid` when it is not well-formed.
    /// # Example
    /// ```rhai
    /// xml.parse("<a><b c='1'/></a>").get("b/@c")
    /// ```
    #[rhai_fn(name = "parse", pure, return_raw)]
    pub fn xml_parse(_xml: &mut Xml, text: &str) -> RhaiResultOf<XmlDocument> {
        crate::helpers::script::XmlDocument::parse(text).map_err(throw)
    }

    /// Gives the first value at a path: an attribute's, or an element's text. `()` when there is none.
    /// # Errors
    /// `invalid` for a path that is none.
    /// # Example
    /// ```rhai
    /// xml.parse("<a><b c='1'/><b c='2'/></a>").get("b[@c='2']/@c")
    /// ```
    #[rhai_fn(name = "get", pure, return_raw)]
    pub fn xml_get(doc: &mut XmlDocument, path: &str) -> RhaiResultOf<Dynamic> {
        Ok(lock(&doc.0).get(path).raise("xml.get")?.map_or(Dynamic::UNIT, Into::into))
    }

    /// Gives all values at a path.
    /// # Example
    /// ```rhai
    /// xml.parse("<a><b c='1'/><b c='2'/></a>").get_all("b/@c")
    /// ```
    #[rhai_fn(name = "get_all", pure, return_raw)]
    pub fn xml_get_all(doc: &mut XmlDocument, path: &str) -> RhaiResultOf<Array> {
        Ok(lock(&doc.0).get_all(path).raise("xml.get_all")?.into_iter().map(Dynamic::from).collect())
    }

    /// Sets an attribute or an element's text everywhere the path matches; makes what is missing. Returns how many.
    /// # Errors
    /// `invalid` for the text of an element with elements inside; `not_found` when a test in `[ ]` matches nothing.
    /// # Example
    /// ```rhai
    /// let d = xml.parse("<a><b/></a>");
    /// d.set("b/@c", "1");
    /// d.to_string()
    /// ```
    #[rhai_fn(name = "set", pure, return_raw)]
    pub fn xml_set(doc: &mut XmlDocument, path: &str, value: Dynamic) -> RhaiResultOf<i64> {
        let n = lock(&doc.0).set(path, &value.to_string()).raise("xml.set")?;
        Ok(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// Removes the elements or attributes that match. Returns how many.
    /// # Example
    /// ```rhai
    /// let d = xml.parse("<a><b/><b/></a>");
    /// d.remove("b")
    /// ```
    #[rhai_fn(name = "remove", pure, return_raw)]
    pub fn xml_remove(doc: &mut XmlDocument, path: &str) -> RhaiResultOf<i64> {
        let n = lock(&doc.0).remove(path).raise("xml.remove")?;
        Ok(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// Inserts XML text as the last child of the element at a path.
    /// # Example
    /// ```rhai
    /// let d = xml.parse("<a><b/></a>");
    /// d.insert("b", "<c/>");
    /// d.to_string()
    /// ```
    #[rhai_fn(name = "insert", pure, return_raw)]
    pub fn xml_insert(doc: &mut XmlDocument, path: &str, text: &str) -> RhaiResultOf<()> {
        lock(&doc.0).insert(path, text).raise("xml.insert")
    }

    /// Gives the XML of the element at a path, or `()`.
    /// # Example
    /// ```rhai
    /// xml.parse("<a><b><c/></b></a>").text_of("b")
    /// ```
    #[rhai_fn(name = "text_of", pure, return_raw)]
    pub fn xml_text_of(doc: &mut XmlDocument, path: &str) -> RhaiResultOf<Dynamic> {
        Ok(lock(&doc.0).text_of(path).raise("xml.text_of")?.map_or(Dynamic::UNIT, Into::into))
    }

    /// Gives the whole document as text.
    /// # Example
    /// ```rhai
    /// xml.parse("<a/>").to_string()
    /// ```
    #[rhai_fn(name = "to_string", name = "to_debug", pure)]
    pub fn xml_to_string(doc: &mut XmlDocument) -> String {
        lock(&doc.0).to_string()
    }
}
