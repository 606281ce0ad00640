//! `kvorum-operator`: see `kvorum::operator`.

use std::io::Write;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Runs clusters of Kvorum members from KvorumCluster documents.
#[derive(Parser)]
#[command(name = "kvorum-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crds => {
            let text = kvorum::api::crds_yaml().context("write the CRDs as YAML")?;
            std::io::stdout().write_all(text.as_bytes()).context("print the CRDs")
        }
    }
}
