//! Loopback addresses and ports of one's own, also beside other test processes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

/// The ports that every member of a test uses, as etcd's defaults are.
pub(crate) const CLIENT_PORT: u16 = 2379;
pub(crate) const PEER_PORT: u16 = 2380;

/// An address 127.0.x.y on which nobody else listens; claimed until its last copy is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    ip: Ipv4Addr,
    _claim: Arc<File>,
}

impl Address {
    pub(crate) fn claim() -> Address {
        const COUNT: u32 = 10 * 256;
        let start = std::process::id().wrapping_mul(61) % COUNT;
        for step in 0..COUNT {
            let [.., high, low] = ((start + step) % COUNT).to_be_bytes();
            // 127.0.0.0 and 127.0.0.1 are not ours to take; 255 is nobody's.
            if (high == 0 && low < 2) || low == 255 {
                continue;
            }
            let ip = Ipv4Addr::new(127, 0, high, low);
            let free = |port| TcpListener::bind((ip, port)).is_ok();
            if let Some(claim) = claim_file(&ip.to_string())
                && free(CLIENT_PORT)
                && free(PEER_PORT)
            {
                return Address { ip, _claim: Arc::new(claim) };
            }
        }
        panic!("no loopback address is free");
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    pub(crate) fn client_url(&self) -> String {
        format!("http://{}:{CLIENT_PORT}", self.ip)
    }

    pub(crate) fn peer_url(&self) -> String {
        format!("http://{}:{PEER_PORT}", self.ip)
    }
}

/// A free port of 127.0.0.1, below those that the system hands out; claimed until it is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _claim: File,
}

impl Port {
    pub(crate) fn claim() -> Port {
        let start = std::process::id() % 12_000;
        for step in 0..12_000 {
            let number = 20_000 + ((start + step) % 12_000) as u16;
            if let Some(claim) = claim_file(&number.to_string())
                && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Port { number, _claim: claim };
            }
        }
        panic!("no port of 127.0.0.1 is free");
    }
}

/// The claim ends with the process, however it ends.
fn claim_file(name: &str) -> Option<File> {
    let folder: PathBuf = std::env::temp_dir().join("kvorum-test-claims");
    fs::create_dir_all(&folder).expect("the folder of claims can be made");
    let file = File::options().create(true).append(true).open(folder.join(name)).ok()?;
    file.try_lock().is_ok().then_some(file)
}
