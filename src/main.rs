//! The program: hands the command line over, and ends with the exit code that comes back.

use std::process::ExitCode;

/// Tens of thousands of small queues come and go: this allocator gives their memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    telemetry_hub::cli::main()
}
