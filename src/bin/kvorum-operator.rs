//! `kvorum-operator`: see `kvorum::operator`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kvorum::operator::platform::local;

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
    match Arguments::parse().command {
        Command::Local { file, dir, server_binary } => {
            let server = server_binary.map_or_else(server_beside, Ok)?;
            let folder =
                dir.unwrap_or_else(|| Path::new(".kvorum").join(file.file_stem().unwrap_or_default()));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.context("start the runtime")?;
            Ok(runtime.block_on(local::run(local::Options { document: file, folder, server }))?)
        }
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
