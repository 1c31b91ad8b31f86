//! The binary: reads the command line, maps the outcome to an exit code.

fn main() {
    zs::helpers::leave(zs::cli::main())
}
