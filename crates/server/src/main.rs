//! The `holdpoint` binary: see the library.

fn main() -> std::process::ExitCode {
    holdpoint::main()
}
