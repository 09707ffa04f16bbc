#include "cli/ranks.hpp"

#include <cstdlib>
#include <utility>

#include "core/error.hpp"

namespace zebroid {
namespace {

std::optional<int> number_in_environment(const char* name) {
  const char* const text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing sets any
  if (text == nullptr) return std::nullopt;
  constexpr int decimal = 10;
  return static_cast<int>(std::strtol(text, nullptr, decimal));
}

}  // namespace

RankPlace rank_place() {
  constexpr std::pair<const char*, const char*> launchers[] = {
      {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},  // Open MPI
      {"PMI_RANK", "PMI_SIZE"},                          // MPICH, srun --mpi=pmi2
      {"PMIX_RANK", "SLURM_STEP_NUM_TASKS"}};            // srun --mpi=pmix
  for (const auto& [rank_name, size_name] : launchers) {
    const auto rank = number_in_environment(rank_name);
    const auto size = number_in_environment(size_name);
    if (rank && size) return {*rank, *size};
  }
  return {};
}

bool has_mpi() {
#ifdef ZEBROID_HAS_MPI
  return true;
#else
  return false;
#endif
}

#ifndef ZEBROID_HAS_MPI
std::unique_ptr<Ranks> join_ranks() { throw Error(ErrorKind::internal, "has_mpi() comes first"); }
#endif

}  // namespace zebroid
