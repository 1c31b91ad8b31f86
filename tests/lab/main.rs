//! zs on the real lab, from outside: the binary, the lab's own tools to look at what it did.
//!
//! `lab/test` brings the lab up and sets `ZS_LAB=1`. The tests take turns: they share one template.

mod backup;
mod bare;
mod clock;
mod clone;
mod crash;
mod destroy;
mod doctor;
mod faults;
mod fleet;
mod history;
mod hypervisor;
mod input;
mod killed;
mod kinds;
mod network;
mod osd;
mod plan;
mod pool;
mod race;
mod refused;
mod remote;
mod repl;
mod rights;
mod services;
mod sight;
mod site;
mod ssh;
mod template;
mod torn;
mod undo;
