//! What `embed/c/edgeadapt.h` declares, by hand and whole: `tests/declarations.rs` holds it to the header.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_uint, c_void};

pub type ea_status = c_uint;
pub const EA_OK: ea_status = 0;
pub const EA_CONFIG_ERROR: ea_status = 1;
pub const EA_UNSUPPORTED_ERROR: ea_status = 2;
pub const EA_BUNDLE_ERROR: ea_status = 3;
pub const EA_ADAPTER_ERROR: ea_status = 4;
pub const EA_INPUT_ERROR: ea_status = 5;
pub const EA_PROVIDER_ERROR: ea_status = 6;
pub const EA_MEMORY_ERROR: ea_status = 7;

pub type ea_dtype = c_uint;
pub const EA_FLOAT32: ea_dtype = 1;
pub const EA_UINT8: ea_dtype = 2;
pub const EA_INT8: ea_dtype = 3;
pub const EA_UINT16: ea_dtype = 4;
pub const EA_INT16: ea_dtype = 5;
pub const EA_INT32: ea_dtype = 6;
pub const EA_INT64: ea_dtype = 7;
pub const EA_BOOL: ea_dtype = 9;
pub const EA_FLOAT16: ea_dtype = 10;
pub const EA_FLOAT64: ea_dtype = 11;
pub const EA_UINT32: ea_dtype = 12;
pub const EA_UINT64: ea_dtype = 13;

pub type ea_verify = c_uint;
pub const EA_VERIFY_ALL: ea_verify = 0;
pub const EA_VERIFY_ADAPTERS: ea_verify = 1;

#[repr(C)]
pub struct ea_error {
    pub status: ea_status,
    pub message: [c_char; 2048],
}

#[repr(C)]
pub struct ea_array {
    pub name: *const c_char,
    pub dtype: ea_dtype,
    pub rank: usize,
    pub shape: *const i64,
    pub data: *const c_void,
    pub bytes: usize,
}

#[repr(C)]
pub struct ea_options {
    pub size: usize,
    pub onnxruntime: *const c_char,
    pub threads: c_int,
    pub verify: ea_verify,
}

#[repr(C)]
pub struct ea_tokens {
    pub count: usize,
    pub ids: *mut i64,
    pub type_ids: *mut i64,
}

// What lies behind these is the library's own.
pub enum ea_names {}
pub enum ea_bundle {}
pub enum ea_result {}
pub enum ea_tokenizer {}

#[rustfmt::skip] // one declaration a line, as the test reads them
#[link(name = "edgeadapt", kind = "static")]
extern "C" {
    pub fn ea_status_name(status: ea_status) -> *const c_char;
    pub fn ea_version() -> *const c_char;

    pub fn ea_dtype_name(dtype: ea_dtype) -> *const c_char;
    pub fn ea_dtype_size(dtype: ea_dtype) -> usize;

    pub fn ea_names_count(names: *const ea_names) -> usize;
    pub fn ea_names_at(names: *const ea_names, index: usize) -> *const c_char;
    pub fn ea_names_free(names: *mut ea_names);

    pub fn ea_bundle_open(folder: *const c_char, options: *const ea_options, bundle: *mut *mut ea_bundle, error: *mut ea_error) -> ea_status;
    pub fn ea_bundle_close(bundle: *mut ea_bundle);
    pub fn ea_bundle_adapters(bundle: *mut ea_bundle, names: *mut *mut ea_names, error: *mut ea_error) -> ea_status;
    pub fn ea_bundle_labels(bundle: *mut ea_bundle, adapter: *const c_char, labels: *mut *mut ea_names, error: *mut ea_error) -> ea_status;
    pub fn ea_bundle_problem_type(bundle: *mut ea_bundle, adapter: *const c_char, problem_type: *mut *const c_char, error: *mut ea_error) -> ea_status;
    pub fn ea_bundle_add(bundle: *mut ea_bundle, folder: *const c_char, name: *const c_char, error: *mut ea_error) -> ea_status;
    pub fn ea_bundle_remove(bundle: *mut ea_bundle, name: *const c_char, error: *mut ea_error) -> ea_status;
    pub fn ea_bundle_load(bundle: *mut ea_bundle, name: *const c_char, error: *mut ea_error) -> ea_status;

    pub fn ea_bundle_task(bundle: *const ea_bundle) -> *const c_char;
    pub fn ea_bundle_onnxruntime(bundle: *const ea_bundle) -> *const c_char;
    pub fn ea_bundle_input_count(bundle: *const ea_bundle) -> usize;
    pub fn ea_bundle_input_name(bundle: *const ea_bundle, input: usize) -> *const c_char;
    pub fn ea_bundle_input_dtype(bundle: *const ea_bundle, input: usize) -> ea_dtype;
    pub fn ea_bundle_input_rank(bundle: *const ea_bundle, input: usize) -> usize;
    pub fn ea_bundle_input_dimension(bundle: *const ea_bundle, input: usize, axis: usize, symbol: *mut *const c_char) -> i64;
    pub fn ea_bundle_tokenizer_path(bundle: *const ea_bundle) -> *const c_char;
    pub fn ea_bundle_max_length(bundle: *const ea_bundle) -> usize;
    pub fn ea_bundle_pad_id(bundle: *const ea_bundle) -> i64;
    pub fn ea_bundle_pad_type_id(bundle: *const ea_bundle) -> i64;
    pub fn ea_bundle_pads_left(bundle: *const ea_bundle) -> c_int;

    pub fn ea_bundle_run(bundle: *mut ea_bundle, inputs: *const ea_array, input_count: usize, adapter: *const c_char, result: *mut *mut ea_result, error: *mut ea_error) -> ea_status;
    pub fn ea_bundle_run_rows(bundle: *mut ea_bundle, inputs: *const ea_array, input_count: usize, adapters: *const *const c_char, rows: usize, result: *mut *mut ea_result, error: *mut ea_error) -> ea_status;
    pub fn ea_result_count(result: *const ea_result) -> usize;
    pub fn ea_result_arrays(result: *const ea_result, output: usize) -> usize;
    pub fn ea_result_array(result: *const ea_result, output: usize, row: usize) -> *const ea_array;
    pub fn ea_result_free(result: *mut ea_result);

    pub fn ea_tokenizer_open(tokenizer_json_path: *const c_char, tokenizer: *mut *mut ea_tokenizer, error: *mut ea_error) -> ea_status;
    pub fn ea_tokenizer_encode(tokenizer: *const ea_tokenizer, text: *const c_char, text_bytes: usize, pair: *const c_char, pair_bytes: usize, max_length: usize, tokens: *mut ea_tokens, error: *mut ea_error) -> ea_status;
    pub fn ea_tokens_free(tokens: *mut ea_tokens);
    pub fn ea_tokenizer_close(tokenizer: *mut ea_tokenizer);
}
