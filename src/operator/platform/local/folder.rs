//! The folder that a local cluster lives in. Documents are written whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::api::{KvorumClusterSpec, KvorumClusterStatus};
use crate::operator::names::MemberName;
use crate::operator::observed::{Disk, DiskMark, DiskState};

/// The first port that is tried: where clients look for a member when nobody tells them. The next
/// clusters on this machine come after it.
const FIRST_BASE_PORT: u16 = 2379;

/// Ports that a cluster may come to use soon; looked at when a base is chosen.
const PORTS: u16 = 40;

/// What a local cluster is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cluster {
    pub(super) name: String,
    /// Tells this cluster from a later one in the same folder.
    pub(super) uid: String,
    /// Members have two ports each from here on.
    pub(super) base_port: u16,
    /// Grows with every accepted change of the spec.
    pub(super) generation: i64,
    /// The member that the document asks to be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replace: Option<String>,
    /// The spec that was last accepted.
    pub(super) spec: KvorumClusterSpec,
}

/// A folder with one cluster in it, held against other operators.
pub(super) struct Folder {
    path: PathBuf,
    cluster: Mutex<Cluster>,
    /// Locked for as long as this lives: the folder, and the ports of the cluster.
    _locks: [File; 2],
}

impl Folder {
    /// The cluster of the folder, if there is one already.
    pub(super) fn read(path: &Path) -> io::Result<Option<Cluster>> {
        read(&path.join("cluster.json"))
    }

    /// Opens the folder for `cluster`, which is written down in it.
    ///
    /// # Errors
    /// `WouldBlock` when another operator holds it; `AddrInUse` when another holds its ports.
    pub(super) fn open(path: &Path, cluster: Cluster, ports: Option<File>) -> io::Result<Self> {
        fs::create_dir_all(path.join("members"))?;
        let lock = File::create(path.join("lock"))?;
        lock.try_lock()?;
        let taken = || io::Error::new(io::ErrorKind::AddrInUse, format!("ports from {}", cluster.base_port));
        let ports =
            ports.map_or_else(|| claim(cluster.base_port), |held| Ok(Some(held)))?.ok_or_else(taken)?;
        write(&path.join("cluster.json"), &cluster)?;
        Ok(Self { path: path.to_owned(), cluster: Mutex::new(cluster), _locks: [lock, ports] })
    }

    pub(super) fn cluster(&self) -> Cluster {
        self.cluster.lock().clone()
    }

    /// From now on `spec` is the one to follow, and `replace` the member to be moved.
    pub(super) fn accept(&self, spec: KvorumClusterSpec, replace: Option<String>) -> io::Result<()> {
        let mut cluster = self.cluster.lock();
        let changed = Cluster { generation: cluster.generation + 1, spec, replace, ..cluster.clone() };
        write(&self.path.join("cluster.json"), &changed)?;
        *cluster = changed;
        Ok(())
    }

    pub(super) fn status(&self) -> io::Result<KvorumClusterStatus> {
        Ok(read(&self.path.join("status.json"))?.unwrap_or_default())
    }

    pub(super) fn write_status(&self, status: &KvorumClusterStatus) -> io::Result<()> {
        write(&self.path.join("status.json"), status)
    }

    /// The folder of one member.
    pub(super) fn member(&self, member: &MemberName) -> PathBuf {
        self.path.join("members").join(member.to_string())
    }

    pub(super) fn data(&self, member: &MemberName) -> PathBuf {
        self.member(member).join("data")
    }

    /// Every member's folder that was finished; one without a mark holds nothing yet.
    pub(super) fn disks(&self) -> io::Result<BTreeMap<MemberName, Disk>> {
        let name = self.cluster.lock().name.clone();
        let mut disks = BTreeMap::new();
        for entry in fs::read_dir(self.path.join("members"))? {
            let entry = entry?;
            let Some(member) = entry.file_name().to_str().and_then(|text| MemberName::parse(&name, text))
            else {
                continue;
            };
            let mark: Option<DiskMark> = read(&entry.path().join("mark.json"))?;
            if mark.is_some() || entry.path().join("data").exists() {
                disks.insert(member, Disk { state: DiskState::Usable, mark });
            }
        }
        Ok(disks)
    }

    pub(super) fn make_disk(&self, member: &MemberName, mark: &DiskMark) -> io::Result<()> {
        fs::create_dir_all(self.member(member))?;
        self.write_mark(member, mark)
    }

    pub(super) fn write_mark(&self, member: &MemberName, mark: &DiskMark) -> io::Result<()> {
        let path = self.member(member).join("mark.json");
        match read::<DiskMark>(&path)? {
            Some(held) if held == *mark => Ok(()),
            _ => write(&path, mark),
        }
    }

    pub(super) fn retire_disk(&self, member: &MemberName) -> io::Result<()> {
        let path = self.member(member).join("mark.json");
        match read::<DiskMark>(&path)? {
            Some(mark) => write(&path, &DiskMark { retired: true, ..mark }),
            None => Ok(()),
        }
    }

    /// Out of sight first, so that no half of it is ever taken for a disk.
    pub(super) fn delete_disk(&self, member: &MemberName) -> io::Result<()> {
        let going = self.path.join("members").join(format!(".deleted-{member}"));
        if going.exists() {
            fs::remove_dir_all(&going)?;
        }
        match fs::rename(self.member(member), &going) {
            Ok(()) => fs::remove_dir_all(&going),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The first block of ports that no cluster of ours claims and nobody listens on, with the claim.
pub(super) fn free_base_port() -> io::Result<(u16, File)> {
    for base in (0..100).map(|block| FIRST_BASE_PORT + block * PORTS) {
        let free = || (base..base + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        if let Some(claim) = claim(base)?
            && free()
        {
            return Ok((base, claim));
        }
    }
    Err(io::Error::other(format!("no free block of ports from {FIRST_BASE_PORT} on")))
}

/// A claim of the ports from `base` on, held while the file is; `None` when another process has it.
fn claim(base: u16) -> io::Result<Option<File>> {
    let folder = std::env::temp_dir().join("kvorum-local-ports");
    fs::create_dir_all(&folder)?;
    let file = File::options().create(true).append(true).open(folder.join(base.to_string()))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    fs::rename(&fresh, path)
}
