//! `GET /ping`.

use serde::Serialize;

use super::Req;
use super::answer::Answer;
use super::error::ApiError;
use crate::clock;

#[derive(Serialize)]
struct Pong {
    pong: bool,
    time: String,
}

/// Touches nothing but the clock.
pub async fn ping(_req: Req) -> Result<Answer, ApiError> {
    Answer::ok(&Pong {
        pong: true,
        time: clock::iso8601(clock::now()),
    })
}
