#include "report/gantt_pieces.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace zebroid {
namespace {

class Merger {
 public:
  Merger(const TimeWindow& window, double least) : window_(window), least_(least) {}

  std::vector<GanttPiece> run(const std::vector<GanttOp>& lane) {
    for (const GanttOp& op : lane) {
      const double begin = window_.x(std::max(op.started_s, window_.from_s));
      const double end = window_.x(std::min(op.ended_s, window_.to_s));
      if (end > begin) add({begin, end - begin, &op, true, false});
    }
    flush();
    return std::move(out_);
  }

 private:
  void add(const GanttPiece& piece) {
    if (piece.width >= least_) {
      flush();
      out_.push_back(piece);
      return;
    }
    if (run_ && piece.x + piece.width - run_->x > least_) flush();
    if (!run_) {
      run_ = piece;
      longest_ = piece.width;
      return;
    }
    run_->width += piece.width;
    run_->alone = false;
    run_->mixed = run_->mixed || piece.op->microbatch % 2 != run_->op->microbatch % 2;
    if (piece.width > longest_) {
      run_->op = piece.op;
      longest_ = piece.width;
    }
  }

  void flush() {
    if (run_) out_.push_back(*run_);
    run_.reset();
  }

  const TimeWindow& window_;
  double least_;
  std::optional<GanttPiece> run_;
  double longest_ = 0;
  std::vector<GanttPiece> out_;
};

}  // namespace

std::vector<GanttPiece> pieces_of(const std::vector<GanttOp>& lane, const TimeWindow& window,
                                  double least_px) {
  return Merger(window, least_px).run(lane);
}

double busy_share(const GanttBand& band, const TimeWindow& window) {
  double busy = 0;
  for (const GanttOp& op : band.lanes[0]) {
    busy +=
        std::max(0.0, std::min(op.ended_s, window.to_s) - std::max(op.started_s, window.from_s));
  }
  return busy / window.seconds();
}

}  // namespace zebroid
