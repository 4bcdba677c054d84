// edgeadapt in C++17: the C library's functions as objects that close themselves and throw. Header only, over edgeadapt.h.
//
//     edgeadapt::Bundle bundle("bundle");
//     edgeadapt::Result result = bundle.run({{"input_ids", ids, {1, 7}}, {"attention_mask", mask, {1, 7}}}, "spam");
//     std::vector<float> scores = result.at("logits").values<float>();
//
// A Bundle and a Tokenizer are shared by any number of threads. What goes wrong is thrown as edgeadapt::Error.
#ifndef EDGEADAPT_HPP
#define EDGEADAPT_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "edgeadapt.h"

namespace edgeadapt {

// What was found, what was got and expected, and what to do; status() says of which kind it is.
class Error : public std::runtime_error {
public:
    explicit Error(const ea_error &error) : std::runtime_error(error.message), status_(error.status) {}
    ea_status status() const noexcept { return status_; }

private:
    ea_status status_;
};

namespace detail {

// Calls a function of the C library, whose last argument is the error, and throws what it fails with.
template <typename Function, typename... Arguments> void call(Function function, Arguments... arguments)
{
    ea_error error{};
    if (function(arguments..., &error) != EA_OK)
        throw Error(error);
}

inline std::vector<std::string> texts(ea_names *names)
{
    std::unique_ptr<ea_names, void (*)(ea_names *)> kept(names, ea_names_free);
    std::vector<std::string> found;
    for (std::size_t index = 0; index < ea_names_count(names); index++)
        found.emplace_back(ea_names_at(names, index));
    return found;
}

template <typename T> constexpr ea_dtype dtype()
{
    if constexpr (std::is_same_v<T, float>)
        return EA_FLOAT32;
    else if constexpr (std::is_same_v<T, double>)
        return EA_FLOAT64;
    else if constexpr (std::is_same_v<T, std::int32_t>)
        return EA_INT32;
    else if constexpr (std::is_same_v<T, std::uint8_t>)
        return EA_UINT8;
    else {
        static_assert(std::is_same_v<T, std::int64_t>, "no dtype of a model's inputs or outputs");
        return EA_INT64;
    }
}

} // namespace detail

// An input of a run, which lies where the caller has it until the run is over.
class Input {
public:
    // `values` has as many members as the product of `shape`; a run refuses another number.
    template <typename T>
    Input(std::string name, const std::vector<T> &values, std::vector<std::int64_t> shape)
        : name_(std::move(name)), shape_(std::move(shape)), dtype_(detail::dtype<T>()), data_(values.data()),
          bytes_(values.size() * sizeof(T))
    {
    }

    ea_array array() const
    {
        return {name_.c_str(), dtype_, shape_.size(), shape_.data(), data_, bytes_};
    }

private:
    std::string name_;
    std::vector<std::int64_t> shape_;
    ea_dtype dtype_;
    const void *data_;
    std::size_t bytes_;
};

// An array of a result, which it belongs to.
class Output {
public:
    explicit Output(const ea_array *array) : array_(array) {}

    std::string name() const { return array_->name; }
    ea_dtype dtype() const { return array_->dtype; }
    std::vector<std::int64_t> shape() const { return {array_->shape, array_->shape + array_->rank}; }
    const void *data() const { return array_->data; }
    std::size_t bytes() const { return array_->bytes; }

    // A copy of the values; throws std::invalid_argument where they are no T.
    template <typename T> std::vector<T> values() const
    {
        if (array_->dtype != detail::dtype<T>())
            throw std::invalid_argument(name() + " holds " + ea_dtype_name(array_->dtype));
        std::vector<T> found(array_->bytes / sizeof(T));
        if (!found.empty())
            std::memcpy(found.data(), array_->data, array_->bytes);
        return found;
    }

private:
    const ea_array *array_;
};

class Result {
public:
    explicit Result(ea_result *result) : result_(result, ea_result_free) {}

    // Of an output the whole; or, where rows have different numbers of labels, that of one row, without the batch axis.
    Output at(const std::string &name, std::size_t row = 0) const
    {
        for (std::size_t output = 0; output < ea_result_count(result_.get()); output++) {
            const ea_array *array = ea_result_array(result_.get(), output, row);
            if (array && name == array->name)
                return Output(array);
        }
        throw std::out_of_range("the result has no output " + name + " of row " + std::to_string(row));
    }

    // How many arrays an output is: 1, or one for each row.
    std::size_t arrays(std::size_t output = 0) const { return ea_result_arrays(result_.get(), output); }

private:
    std::unique_ptr<ea_result, void (*)(ea_result *)> result_;
};

// A bundle that is open. An adapter's name, or none for the base.
class Bundle {
public:
    using Adapter = std::optional<std::string>;

    explicit Bundle(const std::string &folder, ea_options options = {})
        : bundle_(nullptr, ea_bundle_close)
    {
        ea_bundle *bundle = nullptr;
        options.size = sizeof options;
        detail::call(ea_bundle_open, folder.c_str(), &options, &bundle);
        bundle_.reset(bundle);
    }

    std::vector<std::string> adapters() const
    {
        ea_names *names = nullptr;
        detail::call(ea_bundle_adapters, get(), &names);
        return detail::texts(names);
    }

    std::vector<std::string> labels(const Adapter &adapter = std::nullopt) const
    {
        ea_names *names = nullptr;
        detail::call(ea_bundle_labels, get(), text(adapter), &names);
        return detail::texts(names);
    }

    // What a head was trained to answer, or nothing where nobody said.
    std::optional<std::string> problem_type(const Adapter &adapter = std::nullopt) const
    {
        const char *found = nullptr;
        detail::call(ea_bundle_problem_type, get(), text(adapter), &found);
        return found ? std::optional<std::string>(found) : std::nullopt;
    }

    void add(const std::string &folder, const Adapter &name = std::nullopt)
    {
        detail::call(ea_bundle_add, get(), folder.c_str(), text(name));
    }

    void remove(const std::string &name) { detail::call(ea_bundle_remove, get(), name.c_str()); }

    // Runs the model with one adapter for all rows.
    Result run(const std::vector<Input> &inputs, const Adapter &adapter = std::nullopt) const
    {
        ea_result *result = nullptr;
        std::vector<ea_array> arrays = flat(inputs);
        detail::call(ea_bundle_run, get(), arrays.data(), arrays.size(), text(adapter), &result);
        return Result(result);
    }

    // Runs the model with an adapter for each row of the batch.
    Result run(const std::vector<Input> &inputs, const std::vector<Adapter> &adapters) const
    {
        ea_result *result = nullptr;
        std::vector<ea_array> arrays = flat(inputs);
        std::vector<const char *> names;
        for (const Adapter &adapter : adapters)
            names.push_back(text(adapter));
        detail::call(ea_bundle_run_rows, get(), arrays.data(), arrays.size(), names.data(), names.size(), &result);
        return Result(result);
    }

    // The C library's own, for what has no method here.
    ea_bundle *get() const noexcept { return bundle_.get(); }

private:
    static const char *text(const Adapter &adapter) { return adapter ? adapter->c_str() : nullptr; }

    static std::vector<ea_array> flat(const std::vector<Input> &inputs)
    {
        std::vector<ea_array> arrays;
        for (const Input &input : inputs)
            arrays.push_back(input.array());
        return arrays;
    }

    std::unique_ptr<ea_bundle, void (*)(ea_bundle *)> bundle_;
};

struct Tokens {
    std::vector<std::int64_t> ids;
    std::vector<std::int64_t> type_ids;
};

class Tokenizer {
public:
    explicit Tokenizer(const std::string &tokenizer_json) : tokenizer_(nullptr, ea_tokenizer_close)
    {
        ea_tokenizer *tokenizer = nullptr;
        detail::call(ea_tokenizer_open, tokenizer_json.c_str(), &tokenizer);
        tokenizer_.reset(tokenizer);
    }

    // Encodes a text, or a pair, with special tokens; cut to `max_length` tokens where that is over 0.
    Tokens encode(const std::string &text, const std::optional<std::string> &pair = std::nullopt,
                  std::size_t max_length = 0) const
    {
        ea_tokens tokens{};
        const char *second = pair ? pair->data() : nullptr;
        detail::call(ea_tokenizer_encode, tokenizer_.get(), text.data(), text.size(), second, pair ? pair->size() : 0,
                     max_length, &tokens);
        std::unique_ptr<ea_tokens, void (*)(ea_tokens *)> kept(&tokens, ea_tokens_free);
        return {{tokens.ids, tokens.ids + tokens.count}, {tokens.type_ids, tokens.type_ids + tokens.count}};
    }

private:
    std::unique_ptr<ea_tokenizer, void (*)(ea_tokenizer *)> tokenizer_;
};

} // namespace edgeadapt

#endif
