//! An operation is data: what would be done to which object. It does not know how to do itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Change,
    /// Something a person would miss goes away: asked for first.
    Destroy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// `rbd.clone`.
    pub op: String,
    /// `libvirt-pool/z-k8s-m-3`.
    pub subject: String,
    #[serde(default)]
    pub detail: Map<String, Value>,
    pub effect: Effect,
}

/// The detail that names another hypervisor than the run's own.
pub const ON_HOST: &str = "host";

impl Op {
    pub fn change(op: &str, subject: impl ToString) -> Op {
        Op { op: op.into(), subject: subject.to_string(), detail: Map::new(), effect: Effect::Change }
    }

    pub fn destroy(op: &str, subject: impl ToString) -> Op {
        Op { effect: Effect::Destroy, ..Op::change(op, subject) }
    }

    /// Adds a detail; nulls are left out. Never a secret: details are printed and journalled.
    pub fn with(mut self, key: &str, value: impl Serialize) -> Op {
        match serde_json::to_value(value) {
            Ok(Value::Null) | Err(_) => {}
            Ok(v) => {
                self.detail.insert(key.into(), v);
            }
        }
        self
    }
}
