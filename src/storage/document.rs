//! Small documents that must survive a crash whole: written beside, synced, renamed.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fs::{Disk, Fs};

/// Writes the document so that after a crash either the old or the new one is there, never a part.
pub fn write_json_durably<T: Serialize>(path: &Path, document: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(document).map_err(io::Error::other)?;
    text.push(b'\n');
    let folder =
        path.parent().ok_or_else(|| io::Error::other(format!("{} has no folder", path.display())))?;
    let mut beside = OsString::from(path);
    beside.push(".tmp");
    let beside = Path::new(&beside);
    let disk = Disk::default();
    disk.create_folder(folder)?;
    let file = disk.create(beside)?;
    file.write_at(&text, 0)?;
    file.sync_data()?;
    disk.rename(beside, path)?;
    disk.sync_folder(folder)
}

/// Reads a document; `None` if there is none. A document that does not parse is an error that names the file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_and_a_broken_one_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/identity.json");
        assert_eq!(read_json::<Vec<u64>>(&path).unwrap(), None);
        write_json_durably(&path, &vec![1, 2, 3]).unwrap();
        write_json_durably(&path, &vec![4]).unwrap();
        assert_eq!(read_json::<Vec<u64>>(&path).unwrap(), Some(vec![4]));
        std::fs::write(&path, "[4").unwrap();
        let error = read_json::<Vec<u64>>(&path).unwrap_err();
        assert!(error.to_string().contains("identity.json"), "{error}");
    }
}
