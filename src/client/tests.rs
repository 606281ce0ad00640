use super::endpoint::{Address, parse_address};
use super::*;

fn tcp(host: &str, port: u16) -> Result<Address, String> {
    Ok(Address::Tcp { host: host.into(), port })
}

#[test]
fn endpoints_are_read_as_users_write_them() {
    let unix = |path: &str| Ok(Address::Unix { path: path.into() });
    for (text, want) in [
        ("127.0.0.1:2379", tcp("127.0.0.1", 2379)),
        ("http://member-0.members:2379", tcp("member-0.members", 2379)),
        ("http://10.0.0.1:2379/", tcp("10.0.0.1", 2379)),
        ("[::1]:2379", tcp("::1", 2379)),
        (":2379", tcp("localhost", 2379)),
        ("unix:///run/kvorum.sock", unix("/run/kvorum.sock")),
        ("unix:localhost:1234", unix("localhost:1234")),
    ] {
        assert_eq!(parse_address(text), want, "{text}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_used_says_what_would_be_right() {
    for (text, part) in [
        ("https://10.0.0.1:2379", "TLS is not served yet"),
        ("ftp://10.0.0.1:2379", "http or unix"),
        ("10.0.0.1", "HOST:PORT"),
        ("10.0.0.1:http", "0 to 65535"),
    ] {
        let error = parse_address(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// A port on loopback on which nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_write_that_cannot_be_sent_says_so_and_names_the_endpoint() {
    let endpoint = closed_port();
    let client = Client::connect([&endpoint], Timeouts::default()).unwrap();
    let error = client.put(&Default::default()).await.unwrap_err();
    assert!(error.is_unsent(), "{error:?}");
    assert!(matches!(&error, Error::Unreachable { endpoint: at, .. } if *at == endpoint), "{error:?}");
}

#[tokio::test]
async fn a_patient_client_tries_until_its_deadline_and_tells_the_last_error() {
    let timeouts = Timeouts { call: Duration::from_millis(120), ..Timeouts::default() };
    let client = Client::connect([closed_port()], timeouts).unwrap().patient(true);
    let error = client.put(&Default::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Deadline { last: Some(_), .. }), "{error:?}");
    assert!(error.is_unsent(), "{error:?}");
}

#[tokio::test]
async fn too_large_a_request_is_never_sent() {
    let client = Client::connect([closed_port()], Timeouts::default()).unwrap();
    let request =
        crate::proto::etcdserverpb::PutRequest { value: vec![0; 3 << 20].into(), ..Default::default() };
    let error = client.put(&request).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: REQUEST_BYTES_MAX, .. }), "{error:?}");
}

#[tokio::test]
async fn endpoints_that_failed_come_last() {
    let client = Client::connect(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"], Timeouts::default()).unwrap();
    client.endpoints[1].note_failed();
    let seen: Vec<&str> = (0..6).map(|_| client.next_endpoint().text()).collect();
    assert!(!seen.contains(&"127.0.0.1:2"), "{seen:?}");
    assert!(seen.contains(&"127.0.0.1:1") && seen.contains(&"127.0.0.1:3"), "{seen:?}");
}
