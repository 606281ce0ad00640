//! `kvorum`, the server; also started as `etcd`. See `kvorum::server`.

use std::io::Write;
use std::process::ExitCode;

use kvorum::server::config::{Config, NotStarted};
use kvorum::server::{self, Ended};
use kvorum::telemetry::logs;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Config::load(std::env::args().skip(1), std::env::vars()) {
        Ok(config) => config,
        Err(not_started) => return refuse(&not_started),
    };
    if let Err(error) = logs::init(&config.logs) {
        return refuse(&NotStarted::Invalid(error.to_string()));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&NotStarted::Invalid(error.to_string())),
    };
    runtime.block_on(run(config))
}

fn refuse(not_started: &NotStarted) -> ExitCode {
    // Logging may not be set up yet; a second set-up changes nothing.
    let _ = logs::init(&logs::Options::default());
    let text = not_started.report();
    // Nobody is left to tell when the terminal is gone.
    let _ = match not_started.exit_code() {
        0 => std::io::stdout().write_all(text.as_bytes()),
        _ => std::io::stderr().write_all(text.as_bytes()),
    };
    ExitCode::from(not_started.exit_code())
}

async fn run(config: Config) -> ExitCode {
    let stop = CancellationToken::new();
    let asked = match stop_on_signal(&stop) {
        Ok(asked) => asked,
        Err(error) => return refuse(&NotStarted::Invalid(error.to_string())),
    };
    match server::run(config, stop).await {
        Ok(Ended::Stopped) => {
            // As etcd does, so that the parent sees death by that signal; as PID 1 it exits with 0.
            if let Ok(signal) = asked.await
                && std::process::id() != 1
            {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            ExitCode::SUCCESS
        }
        Ok(Ended::Removed) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "member failed");
            ExitCode::FAILURE
        }
    }
}

/// Cancels `stop` at the first SIGTERM or SIGINT; the answer is which one came.
fn stop_on_signal(stop: &CancellationToken) -> std::io::Result<tokio::task::JoinHandle<i32>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    Ok(tokio::spawn(async move {
        let number = tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        };
        tracing::info!(signal = number.as_raw_value(), "received signal; shutting down");
        stop.cancel();
        number.as_raw_value()
    }))
}
