//! `kvorum-operator`: see `kvorum::operator`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kvorum::operator::controller;
use kvorum::operator::platform::local;
use kvorum::telemetry::logs;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs clusters of Kvorum members from KvorumCluster documents.
#[derive(Parser)]
#[command(name = "kvorum-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one cluster on this machine, without Kubernetes, and follow the document as it is edited.
    Local {
        /// The KvorumCluster document.
        #[arg(short, long)]
        file: PathBuf,
        /// Where state and data go; without it .kvorum/ and the document's name without its ending.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// The program of the members; without it the kvorum beside this program.
        #[arg(long)]
        server_binary: Option<PathBuf>,
    },
    /// Manage clusters on the Kubernetes that this runs in, or that the kubeconfig names.
    Run(Box<controller::Options>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For people: what failed and why, on one line.
            let _ = writeln!(std::io::stderr(), "kvorum-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // Before any connection: with two providers in reach rustls takes none by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Arguments::parse().command {
        Command::Local { file, dir, server_binary } => {
            let server = server_binary.map_or_else(server_beside, Ok)?;
            let folder =
                dir.unwrap_or_else(|| Path::new(".kvorum").join(file.file_stem().unwrap_or_default()));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.context("start the runtime")?;
            Ok(runtime.block_on(local::run(local::Options { document: file, folder, server }))?)
        }
        Command::Run(options) => run_in_kubernetes(*options),
        Command::Crds => {
            let text = kvorum::api::crds_yaml().context("write the CRDs as YAML")?;
            std::io::stdout().write_all(text.as_bytes()).context("print the CRDs")
        }
    }
}

fn server_beside() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("find this program")?;
    Ok(here.with_file_name("kvorum"))
}

fn run_in_kubernetes(options: controller::Options) -> anyhow::Result<()> {
    let format = logs::Format::parse(&options.log_format).map_err(anyhow::Error::msg)?;
    let level = logs::parse_level(&options.log_level).map_err(anyhow::Error::msg)?;
    logs::init(&logs::Options { level, format, ..logs::Options::default() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let told = stop.clone();
        tokio::spawn(async move {
            let [terminate, interrupt] = &mut ends;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.cancel();
        });
        Ok(controller::run(options, stop).await?)
    })
}
