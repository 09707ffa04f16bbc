#pragma once

#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/result.hpp"

namespace zebroid {

/// Before long work: throws Error(input) for a file that cannot be written, and for one that two
/// flags name or that is read.
void refuse_bad_outputs(const OutputFiles& files, const std::vector<std::string>& inputs = {});

/// Writes the files that were asked for. `first`: under their own names; else `name` goes in front
/// of the extension.
void write_files(const OutputFiles& files, const Job& job, const std::string& name, bool first);
/// Of several jobs the others' names tell their GPUs too.
void write_files(const OutputFiles& files, const std::vector<PredictedJob>& jobs,
                 const std::string& strategy, bool first);

}  // namespace zebroid
