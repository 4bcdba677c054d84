//! edgeadapt in Rust: the C library's functions as objects that close themselves, with the standard library alone.
//!
//! ```no_run
//! # use edgeadapt::{Bundle, Input, Tokenizer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bundle = Bundle::open("bundle")?;
//! let tokenizer = Tokenizer::open(bundle.tokenizer_path().ok_or("no tokenizer")?)?;
//! let tokens = tokenizer.encode("You won a free phone!", None, bundle.max_length())?;
//! let (mask, shape) = (vec![1i64; tokens.ids.len()], [1, tokens.ids.len() as i64]);
//! let outputs = bundle.run(
//!     &[
//!         Input::new("input_ids", &tokens.ids, &shape),
//!         Input::new("attention_mask", &mask, &shape),
//!         Input::new("token_type_ids", &tokens.type_ids, &shape),
//!     ],
//!     Some("spam"),
//! )?;
//! let logits: &[f32] = outputs.get("logits").and_then(|output| output.values()).ok_or("no logits")?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Bundle`] and a [`Tokenizer`] are shared by any number of threads.

pub mod c;
mod error;
mod outputs;
mod tokenizer;

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

pub use error::{Error, Kind, Result};
pub use outputs::{Output, Outputs};
pub use tokenizer::{Tokenizer, Tokens};

/// A type of values that inputs and outputs hold.
pub trait Value: Copy + private::Sealed {
    const DTYPE: c::ea_dtype;
}

mod private {
    pub trait Sealed {}
}

macro_rules! values {
    ($($type:ty: $dtype:ident),*) => {
        $(impl private::Sealed for $type {}
        impl Value for $type {
            const DTYPE: c::ea_dtype = c::$dtype;
        })*
    };
}

values!(f32: EA_FLOAT32, f64: EA_FLOAT64, i8: EA_INT8, i16: EA_INT16, i32: EA_INT32, i64: EA_INT64);
values!(u8: EA_UINT8, u16: EA_UINT16, u32: EA_UINT32, u64: EA_UINT64);

/// An input of a run, which lies where the caller has it.
pub struct Input<'a> {
    name: &'a str,
    shape: &'a [i64],
    dtype: c::ea_dtype,
    data: *const c_void,
    bytes: usize,
    values: PhantomData<&'a [u8]>,
}

impl<'a> Input<'a> {
    /// `values` has as many members as the product of `shape`; a run refuses another number.
    pub fn new<T: Value>(name: &'a str, values: &'a [T], shape: &'a [i64]) -> Input<'a> {
        Input {
            name,
            shape,
            dtype: T::DTYPE,
            data: values.as_ptr().cast(),
            bytes: std::mem::size_of_val(values),
            values: PhantomData,
        }
    }
}

/// Which files are hashed when a bundle is opened.
#[derive(Clone, Copy, Debug, Default)]
pub enum Verify {
    /// Every one.
    #[default]
    All,
    /// All but the bundle's own over 16 MiB.
    Adapters,
}

/// How a bundle is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// ONNX Runtime's library; else the environment variable EDGEADAPT_ONNXRUNTIME, else what the system finds.
    pub onnxruntime: Option<PathBuf>,
    /// How many threads share one operator; 0 leaves it to ONNX Runtime.
    pub threads: c_int,
    pub verify: Verify,
}

/// A bundle that is open. An adapter is its name, or `None` for the base.
pub struct Bundle(ptr::NonNull<c::ea_bundle>);

// "A bundle is shared by any number of threads: every function here may be called at any time, but for
// ea_bundle_close", which takes a `Bundle` that nobody borrows.
unsafe impl Send for Bundle {}
unsafe impl Sync for Bundle {}

impl Bundle {
    /// Opens the bundle in a folder: all its files are checked, and its model is loaded.
    pub fn open(folder: impl AsRef<Path>) -> Result<Bundle> {
        Bundle::open_with(folder, &Options::default())
    }

    pub fn open_with(folder: impl AsRef<Path>, options: &Options) -> Result<Bundle> {
        let folder = path_text(folder.as_ref())?;
        let onnxruntime = options.onnxruntime.as_deref().map(path_text).transpose()?;
        let options = c::ea_options {
            size: std::mem::size_of::<c::ea_options>(),
            onnxruntime: pointer(&onnxruntime),
            threads: options.threads,
            verify: match options.verify {
                Verify::All => c::EA_VERIFY_ALL,
                Verify::Adapters => c::EA_VERIFY_ADAPTERS,
            },
        };
        let mut bundle = ptr::null_mut();
        error::check(|error| unsafe { c::ea_bundle_open(folder.as_ptr(), &options, &mut bundle, error) })?;
        Ok(Bundle(ptr::NonNull::new(bundle).expect("a bundle that was opened")))
    }

    /// "text-classification" and the like.
    pub fn task(&self) -> String {
        unsafe { text(c::ea_bundle_task(self.as_ptr())) }
    }

    /// The names of what a run is given, in order.
    pub fn inputs(&self) -> Vec<String> {
        let count = unsafe { c::ea_bundle_input_count(self.as_ptr()) };
        (0..count).map(|index| unsafe { text(c::ea_bundle_input_name(self.as_ptr(), index)) }).collect()
    }

    /// The file for [`Tokenizer::open`], where the bundle has one.
    pub fn tokenizer_path(&self) -> Option<PathBuf> {
        unsafe { optional_text(c::ea_bundle_tokenizer_path(self.as_ptr())) }.map(PathBuf::from)
    }

    /// How many tokens a text is cut to; 0 where the bundle has no tokenizer.
    pub fn max_length(&self) -> usize {
        unsafe { c::ea_bundle_max_length(self.as_ptr()) }
    }

    /// The adapters that are known, sorted.
    pub fn adapters(&self) -> Result<Vec<String>> {
        let mut names = ptr::null_mut();
        error::check(|error| unsafe { c::ea_bundle_adapters(self.as_ptr(), &mut names, error) })?;
        Ok(unsafe { texts(names) })
    }

    /// The names of the labels that a run with this adapter answers with; none where nobody named them.
    pub fn labels(&self, adapter: Option<&str>) -> Result<Vec<String>> {
        let adapter = optional_name(adapter)?;
        let mut names = ptr::null_mut();
        error::check(|error| unsafe { c::ea_bundle_labels(self.as_ptr(), pointer(&adapter), &mut names, error) })?;
        Ok(unsafe { texts(names) })
    }

    /// What the head of a run with this adapter was trained to answer, or `None` where nobody said.
    pub fn problem_type(&self, adapter: Option<&str>) -> Result<Option<String>> {
        let adapter = optional_name(adapter)?;
        let mut found = ptr::null();
        error::check(|error| unsafe {
            c::ea_bundle_problem_type(self.as_ptr(), pointer(&adapter), &mut found, error)
        })?;
        Ok(unsafe { optional_text(found) })
    }

    /// Makes the adapter in a folder known, under `name` or what it was converted under; the disk stays as it is.
    pub fn add(&self, folder: impl AsRef<Path>, name: Option<&str>) -> Result<()> {
        let (folder, name) = (path_text(folder.as_ref())?, optional_name(name)?);
        error::check(|error| unsafe { c::ea_bundle_add(self.as_ptr(), folder.as_ptr(), pointer(&name), error) })
    }

    /// Forgets an adapter; the disk stays as it is, and runs under way keep it.
    pub fn remove(&self, name: &str) -> Result<()> {
        let name = c_text(name)?;
        error::check(|error| unsafe { c::ea_bundle_remove(self.as_ptr(), name.as_ptr(), error) })
    }

    /// Runs the model with one adapter for all rows.
    pub fn run(&self, inputs: &[Input], adapter: Option<&str>) -> Result<Outputs> {
        let adapter = optional_name(adapter)?;
        self.run_by(inputs, |arrays, result, error| unsafe {
            c::ea_bundle_run(self.as_ptr(), arrays.as_ptr(), arrays.len(), pointer(&adapter), result, error)
        })
    }

    /// Runs the model with an adapter for each row of the batch.
    pub fn run_rows(&self, inputs: &[Input], adapters: &[Option<&str>]) -> Result<Outputs> {
        let names: Vec<Option<CString>> = adapters.iter().map(|each| optional_name(*each)).collect::<Result<_>>()?;
        let rows: Vec<*const c_char> = names.iter().map(pointer).collect();
        self.run_by(inputs, |arrays, result, error| unsafe {
            let (count, bundle) = (arrays.len(), self.as_ptr());
            c::ea_bundle_run_rows(bundle, arrays.as_ptr(), count, rows.as_ptr(), rows.len(), result, error)
        })
    }

    /// The C library's own, for what has no method here; it is closed with this object.
    pub fn as_ptr(&self) -> *mut c::ea_bundle {
        self.0.as_ptr()
    }

    fn run_by(
        &self,
        inputs: &[Input],
        run: impl FnOnce(&[c::ea_array], *mut *mut c::ea_result, *mut c::ea_error) -> c::ea_status,
    ) -> Result<Outputs> {
        let names: Vec<CString> = inputs.iter().map(|input| c_text(input.name)).collect::<Result<_>>()?;
        let arrays: Vec<c::ea_array> = inputs
            .iter()
            .zip(&names)
            .map(|(input, name)| c::ea_array {
                name: name.as_ptr(),
                dtype: input.dtype,
                rank: input.shape.len(),
                shape: input.shape.as_ptr(),
                data: input.data,
                bytes: input.bytes,
            })
            .collect();
        let mut result = ptr::null_mut();
        error::check(|error| run(&arrays, &mut result, error))?;
        Ok(unsafe { Outputs::new(result) })
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        unsafe { c::ea_bundle_close(self.as_ptr()) }
    }
}

fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::nul(text))
}

fn path_text(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::nul(&path.to_string_lossy()))
}

fn optional_name(name: Option<&str>) -> Result<Option<CString>> {
    name.map(c_text).transpose()
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

/// Safety: `text` is one of the library's, and no NULL.
unsafe fn text(text: *const c_char) -> String {
    CStr::from_ptr(text).to_string_lossy().into_owned()
}

/// Safety: `found` is one of the library's, or NULL.
unsafe fn optional_text(found: *const c_char) -> Option<String> {
    (!found.is_null()).then(|| text(found))
}

/// Safety: `names` is a list of the library's, which is freed.
unsafe fn texts(names: *mut c::ea_names) -> Vec<String> {
    let found = (0..c::ea_names_count(names)).map(|index| text(c::ea_names_at(names, index))).collect();
    c::ea_names_free(names);
    found
}
