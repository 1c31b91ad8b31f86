//! `zs`: a scripting host for private clouds on KVM and Ceph.
//!
//! Data flows one way: script → gate → backend.
//!
//! | layer | where |
//! |---|---|
//! | four backends with the same five files | [`bindings`] |
//! | engine, gate, journal, undo, rights, events, errors | [`host`] |
//! | host helpers of scripts: xml, inventory, args, units … | [`helpers`] |
//! | `zs doctor`: one table of checks | [`doctor`] |
//! | the prompt | [`repl`] |
//! | what is wrong with a script, without running it | [`check`] |
//! | the same for editors | [`lsp`] |
//! | help, tables, reference: loops over the registry | [`render`] |

pub mod bindings;
pub mod check;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod helpers;
pub mod host;
pub mod lsp;
pub mod render;
pub mod repl;
