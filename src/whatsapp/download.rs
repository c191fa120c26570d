//! A file from WhatsApp's media servers into the spool: from one of them after the other, never more of it than
//! its message announced.

use std::io::{self, BufWriter, Write as _};

use whatsapp_rust::anyhow;
use whatsapp_rust::download::{
    DownloadParams, DownloadUtils, MediaDecryption, MediaRoute, MediaType,
};
use whatsapp_rust::wacore::download::DownloadRequest;

use crate::media::{MediaKind, Spool, Spooled};
use crate::message::{Medium, Remote};

use super::guard::{GuardedHttp, TooLong};
use super::session::Session;

/// Why no media server gave a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFetched {
    /// With this HTTP status: the address has expired, or is wrong.
    #[error("the media server answered {0}")]
    Refused(u16),
    /// There is more of it than may be.
    #[error(transparent)]
    TooLong(TooLong),
    #[error("{0:#}")]
    Other(anyhow::Error),
}

impl NotFetched {
    /// Whether another token, and then the phone, may help.
    pub(super) fn is_expired(&self) -> bool {
        matches!(self, NotFetched::Refused(401 | 403 | 404 | 410))
    }
}

impl From<anyhow::Error> for NotFetched {
    fn from(error: anyhow::Error) -> NotFetched {
        let too_long = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .find_map(|cause| cause.get_ref()?.downcast_ref::<TooLong>());
        match too_long {
            Some(too_long) => NotFetched::TooLong(*too_long),
            None => NotFetched::Other(error),
        }
    }
}

impl From<io::Error> for NotFetched {
    fn from(error: io::Error) -> NotFetched {
        anyhow::Error::from(error).into()
    }
}

impl Session {
    /// Fetches the file at `direct_path`, which has at most `most` bytes as it is stored there, and decrypts it.
    pub(super) async fn download(
        &self,
        direct_path: &str,
        medium: &Medium,
        remote: &Remote,
        most: u64,
        spool: &Spool,
    ) -> Result<Spooled, NotFetched> {
        let params = DownloadParams::encrypted(
            direct_path,
            &remote.media_key,
            &medium.sha256,
            &remote.file_enc_sha256,
            medium.size,
            media_type(medium.kind),
        );
        let mut failure = None;
        for anew in [false, true] {
            let conn = self.client.refresh_media_conn(anew).await;
            let conn = conn.map_err(|e| NotFetched::Other(e.into()))?;
            self.http.learn(&conn);
            let route = MediaRoute::from(&conn);
            for request in DownloadUtils::prepare_download_requests(&params, &route)? {
                let (http, spool) = (self.http.clone(), spool.clone());
                let fetched = smol::unblock(move || from_server(&http, request, most, &spool));
                match fetched.await {
                    Ok(file) => return Ok(file),
                    Err(refused) if refused.is_expired() => {
                        failure = Some(refused);
                        break;
                    }
                    // It is no shorter elsewhere.
                    Err(NotFetched::TooLong(too_long)) => {
                        return Err(NotFetched::TooLong(too_long));
                    }
                    Err(other) => {
                        log::debug!("a media server failed: {other}");
                        failure = Some(other);
                    }
                }
            }
            if !failure.as_ref().is_some_and(NotFetched::is_expired) {
                break;
            }
        }
        Err(failure.unwrap_or_else(|| {
            NotFetched::Other(anyhow::anyhow!("WhatsApp names no media servers"))
        }))
    }
}

/// Fetches and decrypts a file from one server. Blocks.
fn from_server(
    http: &GuardedHttp,
    request: DownloadRequest,
    most: u64,
    spool: &Spool,
) -> Result<Spooled, NotFetched> {
    let answer = http.download(request.url, most)?;
    // A redirect is an answer like any other that has no file.
    if !(200..300).contains(&answer.status_code) {
        return Err(NotFetched::Refused(answer.status_code));
    }
    let (file, writer) = spool.create()?;
    let mut writer = BufWriter::new(writer);
    match &request.decryption {
        MediaDecryption::Encrypted {
            media_key,
            media_type,
        } => DownloadUtils::decrypt_stream_to_writer(
            answer.body,
            media_key,
            *media_type,
            &mut writer,
        )?,
        MediaDecryption::Plaintext { file_sha256 } => {
            DownloadUtils::copy_and_validate_plaintext_to_writer(
                answer.body,
                file_sha256,
                &mut writer,
            )?
        }
    };
    writer.flush()?;
    Ok(file)
}

/// The client's word for a kind of media.
pub(super) fn media_type(kind: MediaKind) -> MediaType {
    match kind {
        MediaKind::Image => MediaType::Image,
        MediaKind::Video => MediaType::Video,
        MediaKind::Audio => MediaType::Audio,
        MediaKind::Document => MediaType::Document,
        MediaKind::Sticker => MediaType::Sticker,
    }
}
