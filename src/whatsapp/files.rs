//! Files to and from WhatsApp's media servers, by way of the spool: encrypted and decrypted piece by
//! piece, so that memory does not grow with them.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use whatsapp_rust::anyhow;
use whatsapp_rust::download::MediaType;
use whatsapp_rust::features::{MediaRetryResult, MediaReuploadRequest};
use whatsapp_rust::upload::UploadResponse;
use whatsapp_rust::wacore::upload::{EncryptedMediaInfo, UploadSource, encrypt_media_streaming};

use crate::media::{MediaKind, Spool, Spooled};
use crate::message::{Medium, Remote};

use super::download::{NotFetched, media_type};
use super::error::SendFailure;
use super::remote;
use super::session::{MediaPolicy, Session, wire_jid};

/// A message without a file, or with a path that leads elsewhere.
const NO_FILE: &str = "the message names no file at WhatsApp's media servers";

/// Why a medium was not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    #[error("not connected")]
    NotConnected,
    /// The message names no file, or neither WhatsApp nor the phone has it any more: final.
    #[error("{0}")]
    Gone(String),
    /// To be tried again later.
    #[error("{0}")]
    Other(String),
}

impl Session {
    /// Encrypts a file into the spool and brings it to WhatsApp's media servers; where it is there, and the SHA-256
    /// of its content.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], or [`SendFailure::Other`] if no server takes it.
    pub async fn upload(
        &self,
        kind: MediaKind,
        file: &Path,
        spool: &Spool,
    ) -> Result<(Remote, [u8; 32]), SendFailure> {
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

    /// Fetches a medium from WhatsApp's media servers into the spool, its MAC checked, and not more of it than
    /// its message announced. A link that has expired is asked for again at the phone; the new one is returned,
    /// too.
    ///
    /// # Errors
    /// See [`FetchFailure`].
    pub async fn fetch(
        &self,
        medium: &Medium,
        policy: MediaPolicy,
        spool: &Spool,
    ) -> Result<(Spooled, Option<String>), FetchFailure> {
        let Some(remote) = &medium.remote else {
            return Err(FetchFailure::Gone(NO_FILE.into()));
        };
        let most = most(medium.size, policy).map_err(FetchFailure::Gone)?;
        if !self.is_ready() {
            return Err(FetchFailure::NotConnected);
        }
        // An earlier version of this server has stored what senders wrote.
        let path = remote.direct_path.as_str();
        if !path.is_empty() {
            if !remote::is_path(path) {
                return Err(FetchFailure::Gone(NO_FILE.into()));
            }
            match self.download(path, medium, remote, most, spool).await {
                Ok(file) => return Ok((file, None)),
                Err(failure) if failure.is_expired() => {}
                Err(failure) => return Err(fetch_failure(failure)),
            }
        }
        let path = self.ask_again(medium, remote).await?;
        let file = self
            .download(&path, medium, remote, most, spool)
            .await
            .map_err(fetch_failure)?;
        Ok((file, Some(path)))
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
            MediaRetryResult::Success { direct_path, .. } if remote::is_path(&direct_path) => {
                Ok(direct_path)
            }
            MediaRetryResult::Success { .. } => Err(FetchFailure::Gone(
                "the phone was asked for the file again, and named a place that is not at WhatsApp's media servers"
                    .into(),
            )),
            MediaRetryResult::NotFound => Err(FetchFailure::Gone(
                "neither WhatsApp nor the phone has the file any more".into(),
            )),
            other => Err(FetchFailure::Other(format!(
                "the phone did not upload the file again: {other:?}"
            ))),
        }
    }
}

/// What is kept of an upload.
fn kept(answer: UploadResponse) -> (Remote, [u8; 32]) {
    let remote = Remote {
        direct_path: answer.direct_path,
        media_key: answer.media_key.to_vec(),
        file_enc_sha256: answer.file_enc_sha256.to_vec(),
        url: Some(answer.url),
        media_key_timestamp: Some(answer.media_key_timestamp),
        streaming_sidecar: answer.streaming_sidecar,
    };
    (remote, answer.file_sha256)
}

/// Bytes that a file may have as it is stored at WhatsApp; in words, if its message announces too many.
fn most(announced: u64, policy: MediaPolicy) -> Result<u64, String> {
    let size = match announced {
        // The message does not say.
        0 => policy.unannounced_max_bytes,
        size => size,
    };
    if size > policy.max_bytes {
        return Err(format!(
            "it has {size} bytes, and at most {} are fetched",
            policy.max_bytes
        ));
    }
    Ok(remote::encrypted_size(size))
}

fn fetch_failure(failure: NotFetched) -> FetchFailure {
    match failure {
        NotFetched::TooLong(_) => FetchFailure::Gone(
            "it is longer than its message says, and was not fetched to its end".into(),
        ),
        other => FetchFailure::Other(other.to_string()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_what_its_message_says() {
        let policy = MediaPolicy {
            auto_max_bytes: 10,
            max_bytes: 1_000,
            unannounced_max_bytes: 500,
            leaves_room: true,
        };
        assert_eq!(most(1, policy), Ok(26));
        assert_eq!(most(1_000, policy), Ok(1_018));
        assert_eq!(most(0, policy), Ok(522));
        for absurd in [1_001, u64::MAX] {
            let words = most(absurd, policy).unwrap_err();
            assert!(words.ends_with("at most 1000 are fetched"), "{words}");
        }
    }
}
