//! What completion keeps of the session's variables: types and keys, not the values.

use rhai::{Array, Dynamic, FnPtr, Map};

#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// As people call it: `Guest`, `Array`, `string`.
    pub kind: String,
    pub keys: Vec<(String, Shape)>,
    /// Of an array's first item.
    pub item: Option<Box<Shape>>,
    /// The value itself, of a handle: it is asked for names.
    pub handle: Option<Dynamic>,
}

const DEPTH: usize = 4;

impl Shape {
    pub fn of(value: &Dynamic) -> Shape {
        Shape::to_depth(value, DEPTH)
    }

    fn to_depth(value: &Dynamic, depth: usize) -> Shape {
        let mut shape = Shape { kind: kind_of(value), ..Shape::default() };
        if depth == 0 {
            return shape;
        }
        if let Some(map) = value.read_lock::<Map>() {
            shape.keys = map.iter().map(|(k, v)| (k.to_string(), Shape::to_depth(v, depth - 1))).collect();
        } else if let Some(list) = value.read_lock::<Array>() {
            shape.item = list.first().map(|v| Box::new(Shape::to_depth(v, depth - 1)));
        } else if is_handle(value) {
            shape.handle = Some(value.clone());
        }
        shape
    }

    pub fn key(&self, name: &str) -> Option<&Shape> {
        self.keys.iter().find(|(k, _)| k == name).map(|(_, s)| s)
    }
}

/// The type of a value by its last word.
pub fn kind_of(value: &Dynamic) -> String {
    if value.is_fnptr() {
        return "Fn".into();
    }
    if value.is_map() {
        return "Map".into();
    }
    if value.is_array() {
        return "Array".into();
    }
    let name = value.type_name();
    name.rsplit("::").next().unwrap_or(name).to_string()
}

/// A value of ours that acts on a site.
pub fn is_handle(value: &Dynamic) -> bool {
    value.is_variant() && value.type_name().starts_with("zs::") && kind_of(value) != "Error"
}

/// Whether a value holds a handle, however deep.
pub fn holds_handle(value: &Dynamic) -> bool {
    if let Some(map) = value.read_lock::<Map>() {
        return map.values().any(holds_handle);
    }
    if let Some(list) = value.read_lock::<Array>() {
        return list.iter().any(holds_handle);
    }
    if let Some(f) = value.read_lock::<FnPtr>() {
        return f.iter_curry().any(holds_handle);
    }
    is_handle(value)
}
