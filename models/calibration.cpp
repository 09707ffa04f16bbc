#include "models/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.hpp"
#include "models/config_dir.hpp"

namespace zebroid {
namespace {

constexpr double micro = 1e6;

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (std::size_t k = 0; k < kernel_class_count; ++k) {
    names.emplace_back(name_of(static_cast<KernelClass>(k)));
  }
  return names;
}

KernelCurve read_curve(const JsonView& view) {
  constexpr double least_efficiency = 1e-4;
  constexpr double most_size = 1e9;
  constexpr double most_launch_us = 1e6;
  constexpr double most_rate = 1e4;
  view.only_keys({"efficiency", "half_size", "memory_efficiency", "backward", "launch_us", "rate",
                  "evidence", "source", "date"});
  KernelCurve out;
  out.efficiency = view.at("efficiency").number(least_efficiency, 1);
  if (const auto v = view.find("half_size")) out.half_size = v->number(0, most_size);
  if (const auto v = view.find("memory_efficiency")) {
    out.memory_efficiency = v->number(least_efficiency, 1);
  }
  if (const auto v = view.find("backward")) out.backward = v->number(least_efficiency, 2);
  if (const auto v = view.find("launch_us")) out.launch = {v->number(0, most_launch_us) / micro};
  if (const auto v = view.find("rate")) out.rate = v->number(1 / most_rate, most_rate);
  out.evidence = read_evidence(view.at("evidence"));
  out.source = view.at("source").text();
  return out;
}

Json to_json(const KernelCurve& curve) {
  Json out;
  out["efficiency"] = curve.efficiency;
  out["half_size"] = curve.half_size;
  if (curve.memory_efficiency > 0) out["memory_efficiency"] = curve.memory_efficiency;
  out["backward"] = curve.backward;
  out["launch_us"] = curve.launch.value * micro;
  if (curve.rate != 1) out["rate"] = curve.rate;
  out["evidence"] = name_of(curve.evidence);
  out["source"] = curve.source;
  return out;
}

/// {class: {...}}; classes that it leaves out stay as they were.
void read_curves(const JsonView& view, std::array<KernelCurve, kernel_class_count>& curves) {
  for (std::size_t k = 0; k < kernel_class_count; ++k) {
    if (const auto curve = view.find(kernel_names()[k])) curves.at(k) = read_curve(*curve);
  }
}

void put_table(MeasuredTable table, std::vector<MeasuredTable>& tables) {
  const auto at = std::lower_bound(
      tables.begin(), tables.end(), table,
      [](const MeasuredTable& a, const MeasuredTable& b) { return a.key() < b.key(); });
  if (at != tables.end() && at->key() == table.key()) {
    *at = std::move(table);
  } else {
    tables.insert(at, std::move(table));
  }
}

void read_tables(const JsonView& view, std::vector<MeasuredTable>& tables) {
  for (const JsonView& element : view.elements()) {
    if (auto table = MeasuredTable::read(element)) put_table(std::move(*table), tables);
  }
}

void put_collective(const CollectiveFit& fit, std::vector<CollectiveFit>& fits) {
  const auto at = std::find_if(fits.begin(), fits.end(), [&](const CollectiveFit& known) {
    return known.op == fit.op && known.ranks == fit.ranks &&
           known.ranks_per_node == fit.ranks_per_node;
  });
  if (at == fits.end()) {
    fits.push_back(fit);
  } else {
    *at = fit;
  }
}

void read_collectives(const JsonView& kind, std::vector<CollectiveFit>& fits) {
  const auto view = kind.find("collectives");
  if (!view) return;
  for (const JsonView& element : view->elements()) {
    put_collective(read_collective_fit(element), fits);
  }
}

constexpr const char* links_key = "links";  // beside the GPU kinds of a resolved scenario
constexpr const char* any_gpu = "*";        // what the defaults are stored under
constexpr const char* any_flash_gpu = "* (flash_attention)";

void read_kind(const JsonView& view, Calibration& calibration) {
  view.only_keys({"gpus", "kernels", "tables", "collectives", "notes"});
  std::vector<std::string> gpus;
  for (const JsonView& name : view.at("gpus").elements()) {
    const auto known = position_of(name.text(), gpu_catalogue());  // in any case
    gpus.push_back(known ? gpu_catalogue()[*known].name : name.text());
  }
  if (gpus.empty()) view.at("gpus").fault("expected the names of the GPUs that the rows describe");
  GpuCalibration read;
  if (const auto kernels = view.find("kernels")) {
    kernels->only_keys(kernel_names());
    read_curves(*kernels, read.curves);
  }
  if (const auto tables = view.find("tables")) read_tables(*tables, read.tables);
  read_collectives(view, read.collectives);
  for (const std::string& gpu : gpus) {
    GpuCalibration& known = calibration.gpus[gpu];
    for (std::size_t k = 0; k < kernel_class_count; ++k) {
      if (read.curves.at(k).efficiency > 0) known.curves.at(k) = read.curves.at(k);
    }
    for (const MeasuredTable& table : read.tables) put_table(table, known.tables);
    for (const CollectiveFit& fit : read.collectives) put_collective(fit, known.collectives);
  }
}

void read_file_into(const JsonDocument& document, Calibration& calibration) {
  Faults faults;
  const JsonView root(document, faults);
  root.only_keys({"schema", "kinds", "links", "notes"});
  root.at("schema").name_of("schema", {"zebroid.calibration/2"});
  const auto links = root.find("links");
  if (links) read_links(*links, calibration.links);
  if (!links || root.find("kinds")) {
    for (const JsonView& kind : root.at("kinds").elements()) read_kind(kind, calibration);
  }
  faults.throw_if_any();
}

const GpuCalibration* find_kind(const Calibration& calibration, const std::string& name) {
  const auto found = calibration.gpus.find(name);
  return found == calibration.gpus.end() ? nullptr : &found->second;
}

/// Of one or several known names with + between them, which a name may hold itself.
bool is_made_of(std::string_view name, const std::set<std::string, std::less<>>& known) {
  std::size_t longest = 0;
  for (const std::string& part : known) longest = std::max(longest, part.size());
  std::vector<std::size_t> starts = {0};  // of what may be the next part
  std::size_t end = 0;
  do {
    end = std::min(name.find('+', end), name.size());
    const bool ends_one = std::any_of(starts.rbegin(), starts.rend(), [&](std::size_t start) {
      return end - start <= longest && known.contains(name.substr(start, end - start));
    });
    if (ends_one && end == name.size()) return true;
    if (ends_one) starts.push_back(end + 1);
  } while (end++ < name.size());
  return false;
}

}  // namespace

std::string_view name_of(KernelClass kernel) {
  constexpr std::array<std::string_view, kernel_class_count> names = {
      "gemm", "grouped_gemm", "attention_core", "memory_bound"};
  return names.at(static_cast<std::size_t>(kernel));
}

KernelClass class_of(MeasuredOp op) {
  switch (op) {
    case MeasuredOp::gemm:
      return KernelClass::gemm;
    case MeasuredOp::grouped_gemm:
      return KernelClass::grouped_gemm;
    case MeasuredOp::attention:
      return KernelClass::attention_core;
    default:
      ensure(op == MeasuredOp::elementwise, "collectives have no kernel class");
      return KernelClass::memory_bound;
  }
}

std::optional<KernelCurve> Calibration::curve(const GpuSpec& gpu, KernelClass kernel) const {
  const auto curve_of = [&](const std::string& name) -> const KernelCurve* {
    const GpuCalibration* found = name.empty() ? nullptr : find_kind(*this, name);
    if (found == nullptr) return nullptr;
    const KernelCurve& curve = found->curves.at(static_cast<std::size_t>(kernel));
    return curve.efficiency > 0 ? &curve : nullptr;
  };
  if (const auto* curve = curve_of(gpu.name)) return *curve;
  if (const auto* curve = curve_of(gpu.like)) {
    KernelCurve out = *curve;
    out.evidence = std::max(out.evidence, Evidence::extrapolated);
    return out;
  }
  if (const auto* curve = gpu.flash_attention ? curve_of(any_flash_gpu) : nullptr) return *curve;
  if (const auto* curve = curve_of(any_gpu)) return *curve;
  if (kernel == KernelClass::grouped_gemm) return std::nullopt;
  throw Error(ErrorKind::input,
              fmt::format("no calibration of {} for {}", name_of(kernel), gpu.name));
}

const std::vector<MeasuredTable>& Calibration::tables(const std::string& gpu) const {
  static const std::vector<MeasuredTable> none;
  const GpuCalibration* found = find_kind(*this, gpu);
  return found == nullptr ? none : found->tables;
}

std::vector<std::string> names_of(const Calibration& calibration,
                                  const std::vector<GpuSpec>& kinds) {
  std::set<std::string, std::less<>> known;
  for (const GpuSpec& gpu : kinds) known.insert({gpu.name, gpu.like});
  known.erase("");
  std::vector<std::string> out;
  for (const auto& [name, kind] : calibration.gpus) {
    if (is_made_of(name, known)) out.push_back(name);
  }
  return out;
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
  std::vector<std::string> known = kernel_names();
  known.insert(known.end(), {"tables", "collectives"});
  Calibration out;
  for (const auto& [gpu, kind] : view.members()) {
    if (gpu == links_key) {
      read_links(kind, out.links);
      continue;
    }
    kind.only_keys(known);
    read_curves(kind, out.gpus[gpu].curves);
    if (const auto tables = kind.find("tables")) read_tables(*tables, out.gpus[gpu].tables);
    read_collectives(kind, out.gpus[gpu].collectives);
  }
  return out;
}

Json to_json(const Calibration& calibration, const std::vector<GpuSpec>& kinds) {
  Json out = Json::object();
  for (const GpuSpec& gpu : kinds) {
    Json& kind = out[gpu.name] = Json::object();
    for (std::size_t k = 0; k < kernel_class_count; ++k) {
      const auto curve = calibration.curve(gpu, static_cast<KernelClass>(k));
      if (curve) kind[kernel_names()[k]] = to_json(*curve);
    }
  }
  for (const std::string& gpu : names_of(calibration, kinds)) {
    for (const MeasuredTable& table : calibration.tables(gpu)) {
      out[gpu]["tables"].push_back(table.to_json());
    }
    for (const CollectiveFit& fit : calibration.gpus.at(gpu).collectives) {
      out[gpu]["collectives"].push_back(to_json(fit));
    }
  }
  for (const LinkRate& row : calibration.links) out[links_key].push_back(to_json(row));
  return out;
}

Json to_json(const GpuCalibration& calibration, const std::vector<std::string>& gpus,
             const std::string& notes) {
  Json out;
  out["gpus"] = gpus;
  if (!notes.empty()) out["notes"] = notes;
  for (std::size_t k = 0; k < kernel_class_count; ++k) {
    const KernelCurve& curve = calibration.curves.at(k);
    if (curve.efficiency > 0) out["kernels"][kernel_names()[k]] = to_json(curve);
  }
  for (const MeasuredTable& table : calibration.tables) out["tables"].push_back(table.to_json());
  for (const CollectiveFit& fit : calibration.collectives) {
    out["collectives"].push_back(to_json(fit));
  }
  return out;
}

}  // namespace zebroid
