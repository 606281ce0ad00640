//! How members find each other, and how clients find members.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{CLUSTER_LABEL, METRICS_PORT, ROLE_LABEL, VOTER, client_name, headless_name, labels, map, owned};
use crate::operator::names::{CLIENT_PORT, PEER_PORT};
use crate::operator::validate::Validated;

/// Gives each member the name `MEMBER.SERVICE.NAMESPACE.svc`, also before it is ready: members
/// become ready by talking to each other.
pub fn headless_service(validated: &Validated) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        selector: Some(map(&[(CLUSTER_LABEL, &validated.name)])),
        ports: Some(vec![
            port("client", CLIENT_PORT),
            port("peer", PEER_PORT),
            port("metrics", METRICS_PORT),
        ]),
        ..ServiceSpec::default()
    };
    service(headless_name(&validated.name), validated, spec)
}

/// One address for clients, behind which are the voters that are ready and stay.
pub fn client_service(validated: &Validated) -> Service {
    let spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(map(&[(CLUSTER_LABEL, &validated.name), (ROLE_LABEL, VOTER)])),
        ports: Some(vec![port("client", CLIENT_PORT)]),
        ..ServiceSpec::default()
    };
    service(client_name(&validated.name), validated, spec)
}

fn service(name: String, validated: &Validated, spec: ServiceSpec) -> Service {
    Service { metadata: owned(name, validated, labels(&validated.name)), spec: Some(spec), status: None }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
