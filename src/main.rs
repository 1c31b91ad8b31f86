//! The binary: reads the command line, maps the outcome to an exit code.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(zs::cli::main())
}
