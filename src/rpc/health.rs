//! gRPC's health checking: whoever can ask is served.

use std::sync::Arc;

use futures::Stream;
use futures::StreamExt;
use http::HeaderMap;
use tonic::Status;

use super::gate::Gate;
use super::grpc::Reply;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};

pub(super) struct Health {
    pub(super) gate: Arc<Gate>,
}

impl Health {
    pub(super) async fn check(
        self: Arc<Self>,
        headers: HeaderMap,
        request: HealthCheckRequest,
    ) -> Result<Reply<HealthCheckResponse>, Status> {
        self.gate.unary(&headers, false)?;
        match request.service.as_str() {
            "" => Ok(HealthCheckResponse { status: ServingStatus::Serving as i32 }.into()),
            _ => Err(Status::not_found("unknown service")),
        }
    }

    /// The first answer stands: a member that stops being served cannot say so.
    pub(super) async fn watch(
        self: Arc<Self>,
        headers: HeaderMap,
        request: HealthCheckRequest,
    ) -> Result<impl Stream<Item = Result<HealthCheckResponse, Status>>, Status> {
        self.gate.stream(&headers)?;
        let status = match request.service.as_str() {
            "" => ServingStatus::Serving,
            _ => ServingStatus::ServiceUnknown,
        };
        let first = HealthCheckResponse { status: status as i32 };
        Ok(futures::stream::iter([Ok(first)]).chain(futures::stream::pending()))
    }
}
