// Classifies texts typed at it, with any of a bundle's adapters and no Python: `make -C embed/cpp` builds it.
//
//     $ classify bundle
//     adapters: intents reviews spam
//     none> :spam
//     spam> You won a free phone, call now!
//     spam 0.998  ham 0.002   (3.1 ms)
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <sstream>

#include "edgeadapt.hpp"

namespace {

using edgeadapt::Bundle;

struct Scored {
    std::string label;
    float score;
};

// The scores of one row of logits, as section 7 of the bundle's format has them, the highest first.
std::vector<Scored> scores(const Bundle &bundle, const Bundle::Adapter &adapter, const std::vector<float> &logits)
{
    const std::string kind = bundle.problem_type(adapter).value_or("single_label_classification");
    const bool apart = kind == "multi_label_classification" || (kind != "regression" && logits.size() == 1);
    const float highest = *std::max_element(logits.begin(), logits.end());
    float sum = 0;
    for (float logit : logits)
        sum += std::exp(logit - highest);
    std::vector<std::string> labels = bundle.labels(adapter);
    std::vector<Scored> found;
    for (std::size_t index = 0; index < logits.size(); index++) {
        float score = kind == "regression" ? logits[index]
                      : apart              ? 1 / (1 + std::exp(-logits[index]))
                                           : std::exp(logits[index] - highest) / sum;
        found.push_back({index < labels.size() ? labels[index] : "LABEL_" + std::to_string(index), score});
    }
    std::stable_sort(found.begin(), found.end(), [](const Scored &a, const Scored &b) { return a.score > b.score; });
    return found;
}

class Classifier {
public:
    explicit Classifier(const std::string &folder) : bundle_(folder), tokenizer_(path(bundle_))
    {
        if (std::string(ea_bundle_task(bundle_.get())) != "text-classification")
            throw std::invalid_argument(folder + " is a bundle for " + ea_bundle_task(bundle_.get()) +
                                        ", and this program classifies texts.");
    }

    const Bundle &bundle() const { return bundle_; }

    std::vector<Scored> classify(const std::string &text, const Bundle::Adapter &adapter) const
    {
        edgeadapt::Tokens tokens = tokenizer_.encode(text, std::nullopt, ea_bundle_max_length(bundle_.get()));
        const std::vector<std::int64_t> mask(tokens.ids.size(), 1);
        const std::vector<std::int64_t> shape = {1, static_cast<std::int64_t>(tokens.ids.size())};
        std::vector<edgeadapt::Input> inputs;
        for (std::size_t index = 0; index < ea_bundle_input_count(bundle_.get()); index++) {
            const std::string name = ea_bundle_input_name(bundle_.get(), index);
            inputs.emplace_back(name, name == "input_ids" ? tokens.ids : name == "attention_mask" ? mask : tokens.type_ids, shape);
        }
        return scores(bundle_, adapter, bundle_.run(inputs, adapter).at("logits").values<float>());
    }

private:
    static std::string path(const Bundle &bundle)
    {
        const char *found = ea_bundle_tokenizer_path(bundle.get());
        if (!found)
            throw std::invalid_argument("The bundle has no tokenizer, so this program can't read texts for it.");
        return found;
    }

    Bundle bundle_;
    edgeadapt::Tokenizer tokenizer_;
};

void answer(const Classifier &classifier, const std::string &text, const Bundle::Adapter &adapter)
{
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Scored> found = classifier.classify(text, adapter);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    for (std::size_t index = 0; index < found.size() && index < 3; index++)
        std::printf("%s %.6f  ", found[index].label.c_str(), static_cast<double>(found[index].score));
    std::printf(" (%.1f ms)\n", took.count());
}

// Returns the adapter to go on with: `:name` switches, everything else is a text.
Bundle::Adapter turn(const Classifier &classifier, const std::string &line, const Bundle::Adapter &adapter)
{
    if (line.empty() || line[0] != ':') {
        answer(classifier, line, adapter);
        return adapter;
    }
    const Bundle::Adapter chosen = line == ":none" ? std::nullopt : Bundle::Adapter(line.substr(1));
    classifier.bundle().labels(chosen); // refuses one that there is not
    return chosen;
}

} // namespace

int main(int count, char **arguments)
{
    if (count != 2) {
        std::fprintf(stderr, "usage: classify BUNDLE\n");
        return 2;
    }
    try {
        Classifier classifier(arguments[1]);
        std::string names;
        for (const std::string &name : classifier.bundle().adapters())
            names += " " + name;
        std::printf("adapters:%s\n", names.c_str());
        Bundle::Adapter adapter;
        std::string line;
        while (std::printf("%s> ", adapter.value_or("none").c_str()), std::fflush(stdout), std::getline(std::cin, line)) {
            try {
                adapter = turn(classifier, line, adapter);
            } catch (const edgeadapt::Error &error) {
                std::fprintf(stderr, "%s\n", error.what());
            }
        }
        std::printf("\n");
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
