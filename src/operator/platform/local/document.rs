//! The file that people edit. It is read again whenever its text has changed; what cannot be
//! carried out is told and leaves the cluster as it is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::api::{KvorumCluster, KvorumClusterSpec};
use crate::operator::validate::{Invalid, document};

/// The watched document.
pub(super) struct Document {
    path: PathBuf,
    seen: Option<String>,
    /// What is wrong with it now.
    pub(super) problem: Option<String>,
}

impl Document {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None, problem: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the text differs from the one that was last read.
    pub(super) fn changed(&self) -> bool {
        fs::read_to_string(&self.path).ok() != self.seen
    }

    /// Reads it, as a change of `old`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn read(&mut self, old: Option<(&str, &KvorumClusterSpec)>) -> Result<KvorumCluster, Invalid> {
        let cluster = self.parse(old);
        self.problem = cluster.as_ref().err().map(ToString::to_string);
        cluster
    }

    fn parse(&mut self, old: Option<(&str, &KvorumClusterSpec)>) -> Result<KvorumCluster, Invalid> {
        let read = fs::read_to_string(&self.path);
        self.seen = read.as_ref().ok().cloned();
        let text = read.map_err(|error| Invalid(vec![format!("{}: {error}", self.path.display())]))?;
        let cluster = document(&text, old.map(|(_, spec)| spec))?;
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        match old {
            Some((held, _)) if held != name => Err(Invalid(vec![format!(
                "metadata.name is {name}: this folder holds cluster {held}; put that name back, or give another --dir"
            )])),
            _ => Ok(cluster),
        }
    }
}
