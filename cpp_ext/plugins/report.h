// What plugins tell goes through TensorRT's logger, and nothing that they throw crosses its interfaces.
#pragma once

#include <NvInferRuntime.h>

#include <exception>
#include <string>

namespace edgeseg {

// Where TensorRT keeps its logger; null takes it away. TensorRT says so only to libraries that come inside an engine:
// elsewhere its global logger is taken, and without a TensorRT standard error.
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// One line "edgeseg: TEXT" to the logger.
void report(nvinfer1::ILogger::Severity severity, const std::string& text) noexcept;

inline void report_error(const std::string& text) noexcept { report(nvinfer1::ILogger::Severity::kERROR, text); }

// What `body` returns; what it throws is reported as an error of `where`, and `failure` returned instead.
template <typename Result, typename Body>
Result guarded(const char* where, Result failure, Body body) noexcept {
  try {
    return body();
  } catch (const std::exception& error) {
    try {
      report_error(std::string(where) + ": " + error.what());
    } catch (...) {  // no memory for the text
    }
  } catch (...) {
  }
  return failure;
}

// "[1, 3, 224, 224]"
std::string text_of(const nvinfer1::Dims& dims);

}  // namespace edgeseg
