//! What the checker knows of a value: as much as a signature or a literal says, and no more.

use std::rc::Rc;

/// A type, `Any` where it is not known for certain.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Any,
    Unit,
    Bool,
    Int,
    Float,
    Char,
    Text,
    Blob,
    Function,
    Array(Rc<Type>),
    /// With all of its fields, where they are known.
    Map(Option<Rc<Record>>),
    /// A handle or another type of Rust, by its name there: `Rbd`.
    Of(Rc<str>),
}

/// The fields of a map, and what it is the result of; of nothing where the script writes it down itself.
#[derive(Debug, PartialEq)]
pub struct Record {
    pub fields: Vec<String>,
    pub of: String,
}

impl Type {
    /// Of a type as Rust writes it in a signature.
    pub fn of_rust(text: &str) -> Type {
        let text = text.trim().trim_start_matches("&mut ").trim();
        let inner = text.strip_prefix("RhaiResultOf<").and_then(|t| t.strip_suffix('>')).unwrap_or(text).trim();
        match inner {
            "&str" | "String" | "ImmutableString" => Type::Text,
            "INT" | "i64" => Type::Int,
            "FLOAT" | "f64" => Type::Float,
            "bool" => Type::Bool,
            "char" => Type::Char,
            "()" => Type::Unit,
            "Array" => Type::array(Type::Any),
            "Map" => Type::Map(None),
            "Blob" => Type::Blob,
            "FnPtr" => Type::Function,
            "" | "?" | "T" | "Dynamic" | "RhaiResult" => Type::Any,
            other => Type::Of(other.into()),
        }
    }

    pub fn array(element: Type) -> Type {
        Type::Array(Rc::new(element))
    }

    /// What `for` and closures over it get.
    pub fn element(&self) -> Type {
        match self {
            Type::Array(element) => (**element).clone(),
            Type::Text => Type::Char,
            _ => Type::Any,
        }
    }

    /// Whether a value of this type can be an argument where `wanted` stands.
    pub fn fits(&self, wanted: &Type) -> bool {
        match (self, wanted) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::Array(_), Type::Array(_)) | (Type::Map(_), Type::Map(_)) => true,
            // Numbers and ranges of other widths, iterators: none that scripts write down.
            (Type::Of(a), Type::Of(b)) => a == b || a.contains("Range") && b.contains("Range"),
            _ => self == wanted,
        }
    }

    /// As people call it.
    pub fn name(&self) -> String {
        match self {
            Type::Any => "any value".into(),
            Type::Unit => "()".into(),
            Type::Bool => "true or false".into(),
            Type::Int => "a whole number".into(),
            Type::Float => "a number with a fraction".into(),
            Type::Char => "a character".into(),
            Type::Text => "text".into(),
            Type::Blob => "a blob".into(),
            Type::Function => "a closure".into(),
            Type::Array(_) => "an array".into(),
            Type::Map(_) => "a map".into(),
            Type::Of(name) => match crate::host::registry::namespace_of(name) {
                Some(namespace) => format!("a handle as `{namespace}`"),
                None => format!("a {name}"),
            },
        }
    }
}
