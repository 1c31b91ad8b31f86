//! What completion keeps of the session's variables: types and keys, not the values.

use crate::bindings::virsh::script::Virsh;
use rhai::{Array, Dynamic, FnPtr, Map};
use std::collections::HashMap;

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
    value.is_variant() && value.type_name().starts_with("zs::") && !["Error", "Job"].contains(&kind_of(value).as_str())
}

/// A copy of a value for another run: closures capture `rbd` and its like, which must act in that run. Of any other
/// handle the type comes back, for it can act in its own run alone.
pub fn for_run(value: &Dynamic, handles: &HashMap<&'static str, Dynamic>) -> Result<Dynamic, String> {
    let value = value.flatten_clone();
    if let Some(map) = value.read_lock::<Map>() {
        let copied = map.iter().map(|(k, v)| Ok((k.clone(), for_run(v, handles)?)));
        return Ok(Dynamic::from_map(copied.collect::<Result<_, String>>()?));
    }
    if let Some(list) = value.read_lock::<Array>() {
        let copied = list.iter().map(|v| for_run(v, handles));
        return Ok(Dynamic::from_array(copied.collect::<Result<_, String>>()?));
    }
    if let Some(f) = value.read_lock::<FnPtr>() {
        return Ok(Dynamic::from(closure_for_run(&f, handles)?));
    }
    if !is_handle(&value) {
        return Ok(value);
    }
    let elsewhere = value.read_lock::<Virsh>().is_some_and(|v| !v.0.is_here());
    let own = handles.values().find(|h| h.type_id() == value.type_id()).filter(|_| !elsewhere);
    own.cloned().ok_or_else(|| kind_of(&value))
}

/// The same for a closure.
pub fn closure_for_run(f: &FnPtr, handles: &HashMap<&'static str, Dynamic>) -> Result<FnPtr, String> {
    let mut f = f.clone();
    for captured in f.iter_curry_mut() {
        *captured = for_run(captured, handles)?;
    }
    Ok(f)
}
