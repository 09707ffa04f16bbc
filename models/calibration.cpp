#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "models/config_dir.hpp"
#include "models/cost_model.hpp"

namespace zebroid {
namespace {

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (std::size_t k = 0; k < kernel_class_count; ++k) {
    names.emplace_back(name_of(static_cast<KernelClass>(k)));
  }
  return names;
}

std::vector<std::string> evidence_names() {
  std::vector<std::string> names;
  for (std::size_t e = 0; e < evidence_count; ++e) {
    names.emplace_back(name_of(static_cast<Evidence>(e)));
  }
  return names;
}

std::size_t index_in(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

KernelCalibration read_kernel(const JsonView& view) {
  constexpr double least_efficiency = 1e-4;
  constexpr double most_size = 1e9;
  constexpr double most_launch_us = 1e6;
  view.only_keys(
      {"efficiency", "half_size", "backward", "launch_us", "evidence", "source", "date"});
  KernelCalibration out;
  out.efficiency = view.at("efficiency").number(least_efficiency, 1);
  if (const auto v = view.find("half_size")) out.half_size = v->number(0, most_size);
  if (const auto v = view.find("backward")) out.backward = v->number(least_efficiency, 2);
  if (const auto v = view.find("launch_us")) out.launch = {v->number(0, most_launch_us) * 1e-6};
  out.evidence = static_cast<Evidence>(
      index_in(evidence_names(), view.at("evidence").name_of("evidence grade", evidence_names())));
  out.source = view.at("source").text();
  return out;
}

/// {class: {...}}; classes that it leaves out stay as they were.
void read_kernels(const JsonView& view,
                  std::array<KernelCalibration, kernel_class_count>& kernels) {
  view.only_keys(kernel_names());
  for (std::size_t k = 0; k < kernel_class_count; ++k) {
    if (const auto kernel = view.find(kernel_names()[k])) kernels.at(k) = read_kernel(*kernel);
  }
}

constexpr const char* any_gpu = "*";  // what the defaults are stored under
constexpr const char* any_flash_gpu = "* (flash_attention)";

/// One file: {"schema", "gpus": [names], "kernels": {class: {...}}}.
void read_file_into(const JsonDocument& document, Calibration& calibration) {
  Faults faults;
  const JsonView root(document, faults);
  root.only_keys({"schema", "gpus", "kernels", "notes"});
  root.at("schema").name_of("schema", {"zebroid.calibration/1"});
  std::vector<std::string> gpus;
  for (const JsonView& name : root.at("gpus").elements()) gpus.push_back(name.text());
  if (gpus.empty()) root.at("gpus").fault("expected the names of the GPUs that the rows describe");
  const JsonView kernels = root.at("kernels");
  const std::size_t before = faults.all().size();
  for (const std::string& gpu : gpus) {
    read_kernels(kernels, calibration.gpus[gpu]);
    if (faults.all().size() > before) break;  // the next GPU would only meet the same ones
  }
  faults.throw_if_any();
}

}  // namespace

KernelCalibration Calibration::of(const GpuSpec& gpu, KernelClass kernel) const {
  const auto k = static_cast<std::size_t>(kernel);
  const auto row_of = [&](const std::string& name) -> const KernelCalibration* {
    const auto found = gpus.find(name);
    if (found == gpus.end() || found->second.at(k).efficiency <= 0) return nullptr;
    return &found->second.at(k);
  };
  if (const auto* row = row_of(gpu.name)) return *row;
  if (const auto* row = gpu.like.empty() ? nullptr : row_of(gpu.like)) {
    KernelCalibration out = *row;
    out.evidence = std::max(out.evidence, Evidence::extrapolated);
    return out;
  }
  if (const auto* row = gpu.flash_attention ? row_of(any_flash_gpu) : nullptr) return *row;
  if (const auto* row = row_of(any_gpu)) return *row;
  throw Error(ErrorKind::input,
              fmt::format("no calibration of {} for {}", name_of(kernel), gpu.name));
}

Calibration load_calibration(const std::vector<std::string>& extra) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(config_dir() / "calibrations")) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());  // directory order is not an order
  files.insert(files.end(), extra.begin(), extra.end());
  Calibration calibration;
  for (const auto& file : files) read_file_into(read_json(file), calibration);
  return calibration;
}

Calibration read_calibration(const JsonView& view) {
  Calibration out;
  for (const auto& [gpu, kernels] : view.members()) read_kernels(kernels, out.gpus[gpu]);
  return out;
}

Json to_json(const Calibration& calibration, const std::vector<GpuSpec>& kinds) {
  constexpr double micro = 1e6;
  Json out = Json::object();
  for (const GpuSpec& gpu : kinds) {
    for (std::size_t k = 0; k < kernel_class_count; ++k) {
      const KernelCalibration row = calibration.of(gpu, static_cast<KernelClass>(k));
      Json& kernel = out[gpu.name][kernel_names()[k]];
      kernel["efficiency"] = row.efficiency;
      kernel["half_size"] = row.half_size;
      kernel["backward"] = row.backward;
      kernel["launch_us"] = row.launch.value * micro;
      kernel["evidence"] = name_of(row.evidence);
      kernel["source"] = row.source;
    }
  }
  return out;
}

}  // namespace zebroid
