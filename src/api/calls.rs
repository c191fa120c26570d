//! Calls that ring.

use super::answer::{Done, Json};
use super::context::Req;
use super::error::ApiError;
use super::values::KnownAccount;
use super::values::Segment;
use crate::fields::request;

request! {
    /// A call.
    pub struct OfCall {
        /// an account's id
        id: KnownAccount = path "id",
        /// the call's id: `call.id` of the event `call`
        call: Segment = path "callId",
    }
}

pub async fn reject(req: Req, of: OfCall) -> Result<Json<Done>, ApiError> {
    let accounts = &req.state().accounts;
    match accounts.reject_call(&of.id.0, &of.call.0).await? {
        true => Ok(Done::new("Rejected")),
        false => Err(ApiError::NotFound("No such call rings")),
    }
}
