//! The binary: reads the command line, maps the outcome to an exit code.

#[global_allocator]
static MEMORY: zs::host::memory::Counted = zs::host::memory::Counted;

fn main() {
    zs::helpers::leave(zs::cli::main())
}
