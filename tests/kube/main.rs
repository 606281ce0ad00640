//! The whole story on a real Kubernetes: form, write, scale, roll, lose Pods and nodes, lose the operator,
//! delete, come back. Clients write all the time; a witness asks the members all the time.
//!
//! `make test-kube` builds the images and runs this as root. By itself:
//! `KVORUM_IMAGES=FOLDER cargo test --test kube`; with `KVORUM_KUBE_KEEP=1` the Kubernetes that runs is
//! used and left running. The arguments name scenes to run instead of all of them.

mod bench;
mod scenes;
mod witness;
mod writers;

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};

use bench::{Bench, NAMESPACE, SYSTEM};
use scenes::Stage;

/// The whole story takes about six minutes; past this something hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

fn main() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bench: &'static Bench = Box::leak(Box::new(Bench::start()?));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    let story = runtime.spawn(async move { tokio::time::timeout(LIMIT, play(bench)).await });
    let told = match runtime.block_on(story) {
        Ok(told) => told.context("the story took too long").flatten(),
        Err(panicked) => Err(panicked.into()),
    };
    // After a failure writers may still be at it.
    runtime.shutdown_background();
    match told {
        Ok(()) => bench.stop(),
        Err(error) => {
            bench.say(format!("FAILED: {error:#}"));
            bench.explain();
            Err(error)
        }
    }
}

async fn play(bench: &'static Bench) -> Result<()> {
    install(bench)?;
    let stage = Stage::set(bench, client(bench).await?).await?;
    let asked: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, scene) in scenes::ALL {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            bench.say(format!("--- {name}"));
            stage.play(*scene).await.with_context(|| format!("scene {name}"))?;
        }
    }
    stage.end().await
}

/// The images, the operator by its chart, and a namespace that takes only restricted Pods.
fn install(bench: &Bench) -> Result<()> {
    let images = std::env::var("KVORUM_IMAGES").unwrap_or("target/images".into());
    let [server, operator] = ["kvorum.tar", "kvorum-operator.tar"].map(|file| bench.path(&images).join(file));
    bench.run(std::process::Command::new(bench.path("tests/kube/images.sh")).arg(server).arg(operator))?;
    bench.say("images are on the nodes");
    bench.run(std::process::Command::new(bench.path("manifests/render.sh")).arg("--check"))?;
    let charts = ["charts/kvorum-operator", "charts/kvorum-cluster"].map(|chart| bench.path(chart));
    let [chart, of_cluster] = charts.each_ref().map(|chart| chart.to_str().unwrap_or_default());
    bench.helm(&["lint", "--strict", chart, of_cluster])?;
    let never = ["image.pullPolicy=Never", "serverImage.pullPolicy=Never"];
    bench.helm(&[
        "upgrade",
        "--install",
        "kvorum-operator",
        chart,
        "--create-namespace",
        "--wait",
        "--timeout",
        "2m",
        "--set",
        never[0],
        "--set",
        never[1],
    ])?;
    bench.say(format!("the operator runs in {SYSTEM}"));
    bench.apply(&format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, \
         labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
    ))?;
    // What the other chart gives is taken by the API server, down to the last field.
    let document = bench.helm(&["template", "by-chart", of_cluster, "--namespace", NAMESPACE])?;
    bench.apply_dry(&document)?;
    Ok(())
}

async fn client(bench: &Bench) -> Result<kube::Client> {
    let file = Kubeconfig::read_from(bench.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}
