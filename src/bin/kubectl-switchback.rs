//! The kubectl plugin: `kubectl switchback …`.

fn main() -> std::process::ExitCode {
    switchback::cli::main()
}
