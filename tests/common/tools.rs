//! Where the programs are: the server under test, and the tools it is measured against.

use std::path::{Path, PathBuf};

/// The server under test.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) path: PathBuf,
    /// Whether it is ours; some stories hold for no other server.
    pub(crate) is_ours: bool,
}

/// Ours, unless `KVORUM_TEST_SERVER` names another program with etcd's flags: the stories themselves are
/// checked against real etcd that way.
pub(crate) fn server() -> Server {
    match std::env::var_os("KVORUM_TEST_SERVER") {
        Some(path) => Server { path: path.into(), is_ours: false },
        None => Server { path: env!("CARGO_BIN_EXE_kvorum").into(), is_ours: true },
    }
}

/// Real etcd 3.7.3, the yardstick.
pub(crate) fn etcd() -> Server {
    Server { path: tool("etcd"), is_ours: false }
}

/// A program that `tests/tools/install.sh` has installed.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = place(name);
    assert!(path.exists(), "{} is missing: `make tools` installs it", path.display());
    path
}

/// Where a program lies, or would lie: not every machine can have each of them.
pub(crate) fn place(name: &str) -> PathBuf {
    let folder = std::env::var_os("KVORUM_TOOLS_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("HOME is set");
        Path::new(&home).join(".cache/kvorum-tools/bin")
    });
    folder.join(name)
}
