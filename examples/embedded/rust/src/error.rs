//! What goes wrong, as the C library tells it.

use std::fmt;

use crate::c;

pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of `ea_status`, which edgeadapt.h explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    Config,
    Unsupported,
    Bundle,
    Adapter,
    Input,
    Provider,
    Memory,
    /// One that came after this file.
    Unknown(c::ea_status),
}

/// What was found, what was got and expected, and what to do: all problems of one check, one a line.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    message: String,
}

impl Error {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn nul(text: &str) -> Error {
        let message = format!("{:?} has a NUL in it, which no path and no name can have.", text);
        Error { kind: Kind::Config, message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<c::ea_status> for Kind {
    fn from(status: c::ea_status) -> Kind {
        match status {
            c::EA_CONFIG_ERROR => Kind::Config,
            c::EA_UNSUPPORTED_ERROR => Kind::Unsupported,
            c::EA_BUNDLE_ERROR => Kind::Bundle,
            c::EA_ADAPTER_ERROR => Kind::Adapter,
            c::EA_INPUT_ERROR => Kind::Input,
            c::EA_PROVIDER_ERROR => Kind::Provider,
            c::EA_MEMORY_ERROR => Kind::Memory,
            other => Kind::Unknown(other),
        }
    }
}

/// Calls a function of the C library, whose last argument is the error that it fills.
pub(crate) fn check(function: impl FnOnce(*mut c::ea_error) -> c::ea_status) -> Result<()> {
    let mut error = c::ea_error { status: c::EA_OK, message: [0; 2048] };
    let status = function(&mut error);
    if status == c::EA_OK {
        return Ok(());
    }
    Err(Error { kind: status.into(), message: unsafe { crate::text(error.message.as_ptr()) } })
}
