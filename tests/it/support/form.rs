//! Bodies of `multipart/form-data`, as clients write them.

const BOUNDARY: &str = "----boundary7MA4YWxkTrZu0gW";

/// A form, part by part.
#[derive(Debug, Clone, Default)]
pub struct Form(Vec<u8>);

impl Form {
    pub fn new() -> Form {
        Form::default()
    }

    pub fn field(mut self, name: &str, value: &str) -> Form {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"");
        self.part(&head, value.as_bytes());
        self
    }

    pub fn file(mut self, name: &str, file_name: &str, kind: &str, content: &[u8]) -> Form {
        let head = format!(
            "Content-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\n\
             Content-Type: {kind}"
        );
        self.part(&head, content);
        self
    }

    fn part(&mut self, head: &str, content: &[u8]) {
        let start = format!("--{BOUNDARY}\r\n{head}\r\n\r\n");
        self.0.extend_from_slice(start.as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
    }

    /// The `Content-Type`, and the body.
    pub fn build(mut self) -> (String, Vec<u8>) {
        self.0
            .extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        (format!("multipart/form-data; boundary={BOUNDARY}"), self.0)
    }
}
