//! Files to and from WhatsApp's media servers, by way of the spool: encrypted and decrypted piece by
//! piece, so that memory does not grow with them.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use whatsapp_rust::anyhow;
use whatsapp_rust::download::{DownloadParams, MediaType};
use whatsapp_rust::features::{MediaRetryResult, MediaReuploadRequest};
use whatsapp_rust::http::HttpStatusError;
use whatsapp_rust::upload::UploadResponse;
use whatsapp_rust::wacore::upload::{EncryptedMediaInfo, UploadSource, encrypt_media_streaming};

use crate::media::{MediaKind, Spool, Spooled};
use crate::store::media::{Medium, Remote};
use crate::store::outbox::Upload;

use super::session::{SendFailure, Session, wire_jid};

/// Why a medium was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    #[error("not connected")]
    NotConnected,
    /// The message does not say where it lies, or nobody has it any more: not to be tried again.
    #[error("{0}")]
    Gone(String),
    /// To be tried again later.
    #[error("{0}")]
    Other(String),
}

impl Session {
    /// Encrypts a file into the spool and brings it to WhatsApp's media servers.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], or [`SendFailure::Other`] if no server takes it.
    pub async fn upload(
        &self,
        kind: MediaKind,
        file: &Path,
        spool: &Spool,
    ) -> Result<Upload, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let media_type = media_type(kind);
        let (path, spool) = (file.to_owned(), spool.clone());
        let encrypted = smol::unblock(move || encrypt(&path, &spool, media_type)).await;
        let (source, info) =
            encrypted.map_err(|e| SendFailure::Other(format!("encryption: {e:#}")))?;
        self.client
            .upload_stream(source, info, media_type)
            .await
            .map(kept)
            .map_err(|e| SendFailure::Other(format!("WhatsApp did not take the file: {e:#}")))
    }

    /// Fetches a medium from WhatsApp's media servers into the spool, its hashes checked. A link
    /// that has expired is asked for again at the phone; the new one is returned, too.
    ///
    /// # Errors
    /// See [`FetchFailure`].
    pub async fn fetch(
        &self,
        medium: &Medium,
        spool: &Spool,
    ) -> Result<(Spooled, Option<String>), FetchFailure> {
        let Some(remote) = &medium.remote else {
            return Err(FetchFailure::Gone("the message names no file".into()));
        };
        if !self.is_ready() {
            return Err(FetchFailure::NotConnected);
        }
        let mut expired = remote.direct_path.is_empty();
        if !expired {
            match self
                .fetch_from(&remote.direct_path, medium, remote, spool)
                .await
            {
                Ok(file) => return Ok((file, None)),
                Err(error) if is_expired(&error) => expired = true,
                Err(error) => return Err(FetchFailure::Other(format!("{error:#}"))),
            }
        }
        debug_assert!(expired);
        let path = self.ask_again(medium, remote).await?;
        let file = self
            .fetch_from(&path, medium, remote, spool)
            .await
            .map_err(|e| FetchFailure::Other(format!("{e:#}")))?;
        Ok((file, Some(path)))
    }

    async fn fetch_from(
        &self,
        direct_path: &str,
        medium: &Medium,
        remote: &Remote,
        spool: &Spool,
    ) -> anyhow::Result<Spooled> {
        let params = DownloadParams::encrypted(
            direct_path,
            &remote.media_key,
            &medium.sha256,
            &remote.file_enc_sha256,
            medium.size,
            media_type_of(&medium.kind),
        );
        let spool = spool.clone();
        let (file, writer) = smol::unblock(move || spool.create()).await?;
        self.client
            .download_from_params_to_writer(&params, writer)
            .await?;
        Ok(file)
    }

    /// Asks the phone to upload a medium anew; returns where it lies then.
    async fn ask_again(&self, medium: &Medium, remote: &Remote) -> Result<String, FetchFailure> {
        let chat = wire_jid(&medium.wire_chat).map_err(FetchFailure::Gone)?;
        let participant = medium
            .wire_sender
            .as_deref()
            .map(wire_jid)
            .transpose()
            .map_err(FetchFailure::Gone)?;
        let answer = self
            .client
            .media_reupload()
            .request(&MediaReuploadRequest {
                msg_id: &medium.message_id,
                chat_jid: &chat,
                media_key: &remote.media_key,
                is_from_me: medium.from_me,
                participant: participant.as_ref(),
            })
            .await
            .map_err(|e| FetchFailure::Other(format!("the phone was asked again: {e}")))?;
        match answer {
            MediaRetryResult::Success { direct_path, .. } => Ok(direct_path),
            MediaRetryResult::NotFound => Err(FetchFailure::Gone(
                "neither WhatsApp nor the phone has the file any more".into(),
            )),
            other => Err(FetchFailure::Other(format!(
                "the phone did not upload the file again: {other:?}"
            ))),
        }
    }
}

/// What the media servers said, to be kept.
fn kept(answer: UploadResponse) -> Upload {
    Upload {
        url: answer.url,
        direct_path: answer.direct_path,
        media_key: answer.media_key,
        media_key_timestamp: answer.media_key_timestamp,
        file_sha256: answer.file_sha256,
        file_enc_sha256: answer.file_enc_sha256,
        file_length: answer.file_length,
        streaming_sidecar: answer.streaming_sidecar,
    }
}

fn media_type(kind: MediaKind) -> MediaType {
    match kind {
        MediaKind::Image => MediaType::Image,
        MediaKind::Video => MediaType::Video,
        MediaKind::Audio => MediaType::Audio,
        MediaKind::Document => MediaType::Document,
        MediaKind::Sticker => MediaType::Sticker,
    }
}

/// Of the kind that a stored medium has.
fn media_type_of(kind: &str) -> MediaType {
    match kind {
        "image" => MediaType::Image,
        "video" => MediaType::Video,
        "audio" => MediaType::Audio,
        "sticker" => MediaType::Sticker,
        _ => MediaType::Document,
    }
}

/// Whether the media servers know the file no more; 401 and 403 were tried with a new token.
fn is_expired(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<HttpStatusError>())
        .any(|answer| matches!(answer.status, 403 | 404 | 410))
}

/// Encrypts a file into the spool, piece by piece.
fn encrypt(
    path: &Path,
    spool: &Spool,
    media_type: MediaType,
) -> anyhow::Result<(EncryptedFile, EncryptedMediaInfo)> {
    let plain = BufReader::new(File::open(path)?);
    let (file, writer) = spool.create()?;
    let mut writer = BufWriter::new(writer);
    let info = encrypt_media_streaming(plain, &mut writer, media_type)?;
    writer.flush()?;
    let length = file.size()?;
    Ok((EncryptedFile { file, length }, info))
}

/// What is uploaded; gone when that is over.
struct EncryptedFile {
    file: Spooled,
    length: u64,
}

impl UploadSource for EncryptedFile {
    fn len(&self) -> u64 {
        self.length
    }

    fn reader_from(&self, offset: u64) -> std::io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(self.file.path())?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}
