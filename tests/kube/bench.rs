//! The Kubernetes under test and the programs that a user would reach for: kubectl, helm, etcdctl.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Where the clusters under test live.
pub(crate) const NAMESPACE: &str = "kvorum-demo";
/// Where the operator lives.
pub(crate) const SYSTEM: &str = "kvorum-system";

pub(crate) struct Bench {
    root: PathBuf,
    tools: PathBuf,
    kubeconfig: PathBuf,
    started: Instant,
}

impl Bench {
    /// Starts Kubernetes, or takes the one that runs when `KVORUM_KUBE_KEEP` is set.
    pub(crate) fn start() -> Result<Bench> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let home = std::env::var("HOME").unwrap_or_default();
        let tools = std::env::var("KVORUM_TOOLS_BIN").unwrap_or(format!("{home}/.cache/kvorum-tools/bin"));
        let state = std::env::var("KVORUM_KUBE_DIR").unwrap_or("/var/lib/kvorum-kube".into());
        let kubeconfig = Path::new(&state).join("kubeconfig");
        let bench = Bench { root, tools: tools.into(), kubeconfig, started: Instant::now() };
        if !(keeps() && bench.kubeconfig.exists()) {
            bench.say("starting kubernetes");
            bench.run(&mut Command::new(bench.path("tests/kube/up.sh")))?;
        }
        Ok(bench)
    }

    pub(crate) fn stop(&self) -> Result<()> {
        if !keeps() {
            self.run(&mut Command::new(self.path("tests/kube/down.sh")))?;
        }
        Ok(())
    }

    /// A line of progress with the time since the start.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        let line = format!("{:6.1} s  {}\n", self.started.elapsed().as_secs_f64(), text.as_ref());
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.tools.join(name));
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs kubectl in the namespace of the tests and returns what it printed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run(self.tool("kubectl").args(["--namespace", NAMESPACE]).args(arguments))
    }

    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["get", "--output", "json"];
        all.extend(arguments);
        Ok(serde_json::from_str(&self.kubectl(&all)?)?)
    }

    pub(crate) fn apply(&self, document: &str) -> Result<String> {
        let output = self.apply_output(document, &[])?;
        success("kubectl apply", &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Has the API server check the document without keeping it.
    pub(crate) fn apply_dry(&self, document: &str) -> Result<()> {
        success("kubectl apply --dry-run", &self.apply_output(document, &["--dry-run=server"])?)
    }

    /// What kubectl says when it must refuse the document.
    pub(crate) fn refusal(&self, document: &str) -> Result<String> {
        let output = self.apply_output(document, &[])?;
        ensure!(!output.status.success(), "a wrong document was taken:\n{document}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn apply_output(&self, document: &str, more: &[&str]) -> Result<Output> {
        let mut child = self
            .tool("kubectl")
            .args(["--namespace", NAMESPACE, "apply", "--filename", "-"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no pipe to kubectl")?.write_all(document.as_bytes())?;
        Ok(child.wait_with_output()?)
    }

    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.run(self.tool("helm").args(["--namespace", SYSTEM]).args(arguments))
    }

    pub(crate) fn run(&self, command: &mut Command) -> Result<String> {
        let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
        success(&format!("{command:?}"), &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Asks again and again until the answer is yes; the error names what never came to be.
    pub(crate) fn wait(
        &self,
        what: &str,
        within: Duration,
        mut ask: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let last = match ask() {
                Ok(true) => {
                    self.say(what);
                    return Ok(());
                }
                Ok(false) => String::new(),
                Err(error) => format!(": {error:#}"),
            };
            if Instant::now() > deadline {
                bail!("not so within {within:?}: {what}{last}");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// All that helps to understand a failure, on standard error.
    pub(crate) fn explain(&self) {
        let wanted: [(&str, &[&str]); 6] = [
            ("clusters", &["get", "kvorumclusters", "--output", "yaml"]),
            (
                "objects",
                &["get", "pods,persistentvolumeclaims,services,poddisruptionbudgets", "--output", "wide"],
            ),
            ("events", &["get", "events.events.k8s.io", "--sort-by", ".metadata.creationTimestamp"]),
            ("Pods", &["describe", "pods"]),
            ("log of the members", &["logs", "--selector", "kvorum.dev/cluster", "--prefix", "--tail", "30"]),
            (
                "log of the operator",
                &[
                    "--namespace",
                    SYSTEM,
                    "logs",
                    "--selector",
                    "app.kubernetes.io/name=kvorum-operator",
                    "--tail",
                    "300",
                ],
            ),
        ];
        let mut errors = std::io::stderr().lock();
        for (title, arguments) in wanted {
            let text = self.kubectl(arguments).unwrap_or_else(|error| format!("{error:#}"));
            let _ = writeln!(errors, "\n=== {title} ===\n{text}");
        }
    }
}

fn keeps() -> bool {
    std::env::var_os("KVORUM_KUBE_KEEP").is_some()
}

fn success(what: &str, output: &Output) -> Result<()> {
    ensure!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
