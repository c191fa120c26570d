//! wacore's HTTP client over surf: the version check, media connections.

use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use http_types::headers::{HeaderName, HeaderValue};
use http_types::{Method, Url};
use whatsapp_rust::wacore::net::{HttpClient, HttpRequest, HttpResponse};

/// Sends wacore's requests. Time and size limits are those of the client.
#[derive(Debug, Clone)]
pub struct SurfHttpClient {
    client: surf::Client,
}

impl SurfHttpClient {
    pub fn new(client: surf::Client) -> SurfHttpClient {
        SurfHttpClient { client }
    }
}

#[async_trait]
impl HttpClient for SurfHttpClient {
    /// Any status is an answer; an error means that there was none.
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        let HttpRequest {
            url,
            method,
            headers,
            body,
        } = request;
        // Addresses of media carry tokens: they stay out of errors.
        let url = Url::parse(&url).context("wacore asked for a bad address")?;
        let method = Method::from_str(&method)
            .map_err(|_| anyhow!("wacore asked for the unknown method {method:?}"))?;
        let mut request = surf::Request::new(method, url);
        if let Some(body) = body {
            request.body_bytes(body);
        }
        for (name, value) in headers {
            // Of the same length in any case: the back end knows the body's.
            if name.eq_ignore_ascii_case("content-length") {
                continue;
            }
            let bad = |_| anyhow!("wacore asked for the bad header {name:?}");
            let parsed = HeaderName::from_str(&name).map_err(bad)?;
            let value = HeaderValue::from_str(&value).map_err(bad)?;
            request.set_header(parsed, value);
        }
        let mut response = self
            .client
            .send(request)
            .await
            .map_err(surf::Error::into_inner)?;
        let body = response
            .body_bytes()
            .await
            .map_err(surf::Error::into_inner)?;
        Ok(HttpResponse {
            status_code: response.status().into(),
            body,
        })
    }
}
