"""Mask R-CNN with shapes that do not depend on what is in the picture: the form that is exported.

The same weights and rules as `edgeseg.models.maskrcnn` (torchvision's), written as one function of the picture:

    maps -> objectness and offsets of all anchors -> best ones a map -> boxes -> suppression -> TopK proposals
    -> regions -> class scores and boxes -> suppression -> TopK detections -> regions -> masks

Suppression keeps the shape of its scores: what is suppressed scores 0. Regions are cut out of every map and the right
one is taken, where torchvision sorts them by map. Both steps are modules of their own, which `edgeseg.export.instances`
replaces by ONNX nodes.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

from edgeseg.models.maskrcnn import ASPECTS, BOX_SIDE, MASK_SIDE, SAMPLING_RATIO, MaskRCNN

# torchvision's limits: no offset enlarges a box further; smaller boxes are dropped, as proposals and as detections.
LARGEST_STEP = math.log(1000.0 / 16)
SMALLEST_PROPOSAL, SMALLEST_DETECTION = 1e-3, 1e-2
# Lin et al. 2017, equation 1: a region of 224 pixels belongs to the map of stride 16.
CANONICAL_SIDE, CANONICAL_LEVEL = 224.0, 4


class Suppress(nn.Module):
    """boxes [N, B, 4], scores [N, C, B] -> scores, 0 for all but the best of boxes that overlap, each class by itself.

    Args:
        overlap: IoU above which the lower score loses.
        least: scores that are not above it lose too.
    """

    def __init__(self, overlap: float, least: float) -> None:
        super().__init__()
        self.overlap, self.least = overlap, least

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        kept = torch.zeros_like(scores)
        for image in range(scores.shape[0]):
            for row in range(scores.shape[1]):
                above = (scores[image, row] > self.least).nonzero()[:, 0]
                best = above[nms(boxes[image, above], scores[image, row, above], self.overlap)]
                kept[image, row, best] = scores[image, row, best]
        return kept


class AlignRegions(nn.Module):
    """map [N, C, h, w], regions [M, 4] in pixels, image numbers int64 [M] -> [M, C, size, size]."""

    def __init__(self, size: int, scale: float) -> None:
        super().__init__()
        self.size, self.scale = size, scale

    def forward(self, features: Tensor, regions: Tensor, images: Tensor) -> Tensor:
        numbered = torch.cat([images[:, None].to(regions.dtype), regions], 1)
        found: Tensor = roi_align(features, numbered, self.size, self.scale, SAMPLING_RATIO)
        return found


class Regions(nn.Module):
    """Cut each region out of the map that fits its size."""

    def __init__(self, size: int, scales: list[float]) -> None:
        super().__init__()
        self.align = nn.ModuleList(AlignRegions(size, scale) for scale in scales)
        self.lowest = -round(math.log2(scales[0]))

    def forward(self, maps: list[Tensor], regions: Tensor, images: Tensor) -> Tensor:
        side = torch.sqrt((regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1]))
        level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIDE) + 1e-6)
        level = level.clamp(self.lowest, self.lowest + len(maps) - 1)[:, None, None, None]
        found = torch.zeros(())
        for number, (align, features) in enumerate(zip(self.align, maps, strict=True)):
            here = align(features, regions, images)
            found = torch.where(level == self.lowest + number, here, found)
        return found


class StaticDetector(nn.Module):
    """`MaskRCNN` in evaluation mode for pictures of one size.

    Args:
        network: not changed; its weights are shared.
        height, width: of the pictures, multiples of the network's stride.
        detections: rows of the answer.

    Returns (of `forward`, for float32 [N, 3, height, width] normalized):
        boxes float32 [N, K, 4] (x1 y1 x2 y2, pixels), scores float32 [N, K] from the best to the worst, classes int32
        [N, K], masks float32 [N, K, 28, 28]. Rows behind the last detection have score 0, class 0 and empty boxes.
    """

    def __init__(self, network: MaskRCNN, height: int, width: int, detections: int) -> None:
        super().__init__()
        parts = cast(Any, network.detector)
        self.stride, self.mean, self.std = network.stride, network.mean, network.std
        self.backbone, self.head = parts.backbone, parts.rpn.head
        self.height, self.width, self.detections = height, width, detections
        self.before, self.proposals = parts.rpn.pre_nms_top_n(), parts.rpn.post_nms_top_n()
        heads = parts.roi_heads
        self.box_head, self.box_predictor = heads.box_head, heads.box_predictor
        self.mask_head, self.mask_predictor = heads.mask_head, heads.mask_predictor
        self.box_weights = heads.box_coder.weights
        self.suppress_proposals = Suppress(parts.rpn.nms_thresh, 0.0)
        self.suppress_detections = Suppress(heads.nms_thresh, heads.score_thresh)
        with torch.no_grad():
            maps = list(self.backbone(torch.zeros(1, 3, height, width)).values())
        self.counts = [len(ASPECTS) * value.shape[2] * value.shape[3] for value in maps]
        self.register_buffer("anchors", _anchors(parts.rpn.anchor_generator, maps, height, width), persistent=False)
        scales = [2.0 ** round(math.log2(value.shape[2] / height)) for value in maps[:-1]]
        self.box_regions, self.mask_regions = Regions(BOX_SIDE, scales), Regions(MASK_SIDE, scales)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        maps = list(self.backbone(x).values())
        proposals, valid = self._propose(maps)
        images = torch.arange(x.shape[0])[:, None].expand(-1, self.proposals).reshape(-1)
        flat = proposals.reshape(-1, 4)
        features = self.box_head(self.box_regions(maps[:-1], flat, images))
        logits, offsets = self.box_predictor(features)
        boxes, scores, classes = self._detect(proposals, valid, logits, offsets)
        images = torch.arange(x.shape[0])[:, None].expand(-1, self.detections).reshape(-1)
        regions = self.mask_regions(maps[:-1], boxes.reshape(-1, 4), images)
        masks = self.mask_predictor(self.mask_head(regions)).sigmoid()
        own = classes.reshape(-1, 1, 1, 1).expand(-1, 1, masks.shape[2], masks.shape[3])
        masks = masks.gather(1, own).reshape(-1, self.detections, masks.shape[2], masks.shape[3])
        return boxes, scores, classes.to(torch.int32), masks

    def _propose(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The best boxes of all maps [N, P, 4], and 1 where there is one, else 0 [N, P]."""
        objectness, offsets = self.head(maps)
        boxes, scores, first = [], [], 0
        for score, offset, count in zip(objectness, offsets, self.counts, strict=True):
            keep = min(self.before, count)
            best, index = _flat(score, 1)[:, :, 0].topk(keep)
            anchors = cast(Tensor, self.anchors)[first : first + count]
            near = _take(_flat(offset, 4), index)
            own = anchors[index]
            found = self._clip(_decode(own, near, (1.0, 1.0, 1.0, 1.0)))
            boxes.append(found)
            scores.append(torch.where(_larger(found, SMALLEST_PROPOSAL), best.sigmoid(), -1.0))
            first += count
        # Each map is a class of its own for the suppression: boxes of different maps do not compete.
        rows = []
        for number in range(len(scores)):
            parts = [value if number == other else torch.full_like(value, -1.0) for other, value in enumerate(scores)]
            rows.append(torch.cat(parts, 1))
        every = torch.cat(boxes, 1)
        kept = self.suppress_proposals(every, torch.stack(rows, 1)).amax(1)
        best, index = kept.topk(self.proposals)
        return _take(every, index), (best > 0).to(every.dtype)

    def _detect(
        self, proposals: Tensor, valid: Tensor, logits: Tensor, offsets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        classes = logits.shape[1]
        shares = logits.softmax(1).reshape(-1, self.proposals, classes) * valid[:, :, None]
        near = offsets.reshape(-1, self.proposals, classes, 4)
        scores, boxes = [], []
        for label in range(1, classes):
            found = self._clip(_decode(proposals, near[:, :, label], self.box_weights))
            own = torch.where(_larger(found, SMALLEST_DETECTION), shares[:, :, label], 0.0)
            scores.append(self.suppress_detections(found, own[:, None])[:, 0])
            boxes.append(found)
        best, index = torch.cat(scores, 1).topk(self.detections)
        chosen_class = torch.div(index, self.proposals, rounding_mode="floor") + 1
        sure = best > 0
        chosen = _take(torch.cat(boxes, 1), index)
        return chosen * sure[:, :, None].to(chosen.dtype), best, torch.where(sure, chosen_class, 0)

    def _clip(self, boxes: Tensor) -> Tensor:
        left, top, right, bottom = boxes.unbind(-1)
        across, down = (0.0, float(self.width)), (0.0, float(self.height))
        return torch.stack([left.clamp(*across), top.clamp(*down), right.clamp(*across), bottom.clamp(*down)], -1)


def _anchors(generator: Any, maps: list[Tensor], height: int, width: int) -> Tensor:
    """All anchors [sum of counts, 4], map by map, as torchvision's generator orders them."""
    sizes = [value.shape[-2:] for value in maps]
    strides = [[torch.tensor(height // rows), torch.tensor(width // columns)] for rows, columns in sizes]
    generator.set_cell_anchors(torch.float32, torch.device("cpu"))
    return torch.cat(generator.grid_anchors(sizes, strides))


def _flat(values: Tensor, channels: int) -> Tensor:
    """[N, A * channels, h, w] -> [N, h * w * A, channels], the anchors' order."""
    images, _, rows, columns = values.shape
    split = values.reshape(images, -1, channels, rows, columns).permute(0, 3, 4, 1, 2)
    return split.reshape(images, -1, channels)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """values [N, B, 4], index [N, K] -> [N, K, 4]."""
    return values.gather(1, index[:, :, None].expand(-1, -1, 4))


def _decode(boxes: Tensor, offsets: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Boxes moved by offsets (Girshick et al. 2014, appendix C): x and y by shares of the size, sizes by logarithms."""
    left, top, right, bottom = boxes.unbind(-1)
    width, height = right - left, bottom - top
    dx, dy, dw, dh = (part / weight for part, weight in zip(offsets.unbind(-1), weights, strict=True))
    x, y = left + 0.5 * width + dx * width, top + 0.5 * height + dy * height
    half_width = 0.5 * width * dw.clamp(max=LARGEST_STEP).exp()
    half_height = 0.5 * height * dh.clamp(max=LARGEST_STEP).exp()
    return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], -1)


def _larger(boxes: Tensor, side: float) -> Tensor:
    left, top, right, bottom = boxes.unbind(-1)
    return (right - left >= side) & (bottom - top >= side)
