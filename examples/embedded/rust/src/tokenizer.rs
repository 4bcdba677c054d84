//! Texts as ids.

use std::path::Path;
use std::{ptr, slice};

use crate::error::{self, Result};
use crate::{c, path_text};

/// A tokenizer.json that is open.
pub struct Tokenizer(ptr::NonNull<c::ea_tokenizer>);

// "never changes after it was opened: threads share it"
unsafe impl Send for Tokenizer {}
unsafe impl Sync for Tokenizer {}

/// A text's tokens; both lists are of one length.
pub struct Tokens {
    pub ids: Vec<i64>,
    pub type_ids: Vec<i64>,
}

impl Tokenizer {
    /// Opens a tokenizer.json; what it asks for and this library has not is refused by name.
    pub fn open(tokenizer_json: impl AsRef<Path>) -> Result<Tokenizer> {
        let path = path_text(tokenizer_json.as_ref())?;
        let mut tokenizer = ptr::null_mut();
        error::check(|error| unsafe { c::ea_tokenizer_open(path.as_ptr(), &mut tokenizer, error) })?;
        Ok(Tokenizer(ptr::NonNull::new(tokenizer).expect("a tokenizer that was opened")))
    }

    /// Encodes a text, or a pair, with special tokens; cut to `max_length` tokens where that is over 0.
    pub fn encode(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Tokens> {
        let (second, second_bytes) = pair.map_or((ptr::null(), 0), |pair| (pair.as_ptr(), pair.len()));
        let mut tokens = c::ea_tokens { count: 0, ids: ptr::null_mut(), type_ids: ptr::null_mut() };
        error::check(|error| unsafe {
            let (first, first_bytes, second) = (text.as_ptr().cast(), text.len(), second.cast());
            let tokenizer = self.0.as_ptr();
            c::ea_tokenizer_encode(tokenizer, first, first_bytes, second, second_bytes, max_length, &mut tokens, error)
        })?;
        let copied = |first: *const i64| match tokens.count {
            0 => Vec::new(),
            count => unsafe { slice::from_raw_parts(first, count) }.to_vec(),
        };
        let found = Tokens { ids: copied(tokens.ids), type_ids: copied(tokens.type_ids) };
        unsafe { c::ea_tokens_free(&mut tokens) };
        Ok(found)
    }
}

impl Drop for Tokenizer {
    fn drop(&mut self) {
        unsafe { c::ea_tokenizer_close(self.0.as_ptr()) }
    }
}
