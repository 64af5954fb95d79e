#include "report.h"

#include <atomic>
#include <cstdio>

#include "loaded_tensorrt.h"

namespace edgeseg {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder = finder; }

void report(nvinfer1::ILogger::Severity severity, const std::string& text) noexcept {
  try {
    nvinfer1::ILoggerFinder* finder = logger_finder;
    nvinfer1::ILogger* logger = finder ? finder->findLogger() : nullptr;
    if (!logger) logger = loaded_logger();
    const std::string line = "edgeseg: " + text;
    if (logger)
      logger->log(severity, line.c_str());
    else
      std::fprintf(stderr, "%s\n", line.c_str());
  } catch (...) {  // there is nobody left to tell
  }
}

std::string text_of(const nvinfer1::Dims& dims) {
  std::string text = "[";
  for (int32_t i = 0; i < dims.nbDims; ++i) text += (i ? ", " : "") + std::to_string(dims.d[i]);
  return text + "]";
}

}  // namespace edgeseg
