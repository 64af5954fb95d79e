"""`maskrcnn_*`: Mask R-CNN (He et al. 2017) on a light encoder with a feature pyramid and light heads.

Proposals, RoIAlign, NMS, matching and losses are torchvision's; what is ours is what makes it light: the encoder, the
pyramid's width, two small heads. RoIAlign's sampling ratio is fixed, since the exported file writes it out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from edgeseg.errors import UsageError
from edgeseg.models.base import Network
from edgeseg.models.encoders import build_encoder
from edgeseg.models.encoders.base import Encoder

SAMPLING_RATIO = 2
ASPECTS = (0.5, 1.0, 2.0)
# Sides of what is cut out for the two heads; masks come out at twice theirs.
BOX_SIDE, MASK_SIDE = 7, 14


class Pyramid(nn.Module):
    """The encoder's maps from stride 4 on, brought to one width (Lin et al. 2017), and one more at half the size."""

    def __init__(self, encoder: str, width: int, **options: Any) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, **options)
        self.first = self.encoder.strides.index(4)
        self.fpn = FeaturePyramidNetwork(list(self.encoder.channels[self.first :]), width, LastLevelMaxPool())
        self.out_channels = width

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.encoder(x)[self.first :]
        found: OrderedDict[str, Tensor] = self.fpn(OrderedDict((str(k), value) for k, value in enumerate(maps)))
        return found


class AsIs(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Pictures come in normalized and at the model's size, as for every other network here: nothing is resized."""

    def __init__(self) -> None:
        super().__init__(1, 1, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], size_divisible=1)

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """The picture and its target as they are; torchvision's own skips the resize in training only."""
        return image, target


class MaskHead(nn.Sequential):
    """Depthwise separable 3x3 convolutions with ReLU; no norm, since batches of regions are too mixed for one."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        for _ in range(depth):
            self.append(nn.Conv2d(width, width, 3, padding=1, groups=width))
            self.append(nn.Conv2d(width, width, 1))
            self.append(nn.ReLU(inplace=True))


class MaskPredictor(nn.Sequential):
    """14x14 regions to 28x28 logits, one map a class."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(nn.ConvTranspose2d(width, width, 2, 2), nn.ReLU(inplace=True), nn.Conv2d(width, classes, 1))


class MaskRCNN(Network):
    """Instances of `classes` (0 is the background).

    Args:
        classes: number of classes, the background among them.
        encoder: its name, see `edgeseg.models.encoders`.
        width: channels of the pyramid and the mask head; 256 in the paper.
        hidden: width of the box head's two layers; 1024 in the paper.
        mask_depth: separable convolutions of the mask head.
        anchors: side of the anchors on each map, pixels, largest map first.
        regions: how many a picture the heads are trained on, a quarter of them with instances; 512 in the paper.
        proposals: regions that the second stage looks at when it answers.
        max_detections: instances a picture, at most.
        options: what the encoder takes.
    """

    def __init__(
        self,
        classes: int = 2,
        encoder: str = "efficientnet_lite0",
        width: int = 128,
        hidden: int = 512,
        mask_depth: int = 3,
        anchors: Sequence[int] = (24, 48, 96, 192, 384),
        regions: int = 128,
        proposals: int = 300,
        max_detections: int = 100,
        **options: Any,
    ) -> None:
        pyramid = Pyramid(encoder, width, **options)
        super().__init__(pyramid.encoder.strides[-1], pyramid.encoder.mean, pyramid.encoder.std)
        strides = pyramid.encoder.strides[pyramid.first :]
        if any(deep != 2 * near for near, deep in zip(strides, strides[1:], strict=False)):
            raise UsageError("a pyramid needs maps that halve", f"strides {list(strides)}", "Leave output_stride out")
        if len(anchors) != len(strides) + 1:
            seen = f"{list(anchors)}, strides {list(strides)} and one more"
            raise UsageError("one side of anchors a map is needed", seen, "Give as many anchors")
        if not 1 <= max_detections <= proposals * (classes - 1):
            seen = f"{max_detections} of {proposals} proposals"
            raise UsageError("impossible max_detections", seen, "Ask for at most one detection a proposal and class")
        maps = [str(k) for k in range(len(strides))]
        self.detector = TorchvisionMaskRCNN(
            pyramid,
            rpn_anchor_generator=AnchorGenerator(tuple((side,) for side in anchors), (ASPECTS,) * len(anchors)),
            box_batch_size_per_image=regions,
            rpn_post_nms_top_n_train=1000,
            rpn_post_nms_top_n_test=proposals,
            rpn_pre_nms_top_n_test=1000,
            box_roi_pool=MultiScaleRoIAlign(maps, BOX_SIDE, SAMPLING_RATIO),
            box_head=TwoMLPHead(width * BOX_SIDE**2, hidden),
            box_predictor=FastRCNNPredictor(hidden, classes),
            box_detections_per_img=max_detections,
            mask_roi_pool=MultiScaleRoIAlign(maps, MASK_SIDE, SAMPLING_RATIO),
            mask_head=MaskHead(width, mask_depth),
            mask_predictor=MaskPredictor(width, classes),
        )
        self.detector.transform = AsIs()

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """See `Network.output_size`; nothing is padded, so the sides must be multiples of the stride."""
        if height % self.stride or width % self.stride:
            near = "x".join(str(max(1, round(side / self.stride)) * self.stride) for side in (height, width))
            raise UsageError("the size is no multiple of the stride", f"{height}x{width}", f"Give {near}, for example")
        return height, width

    @property
    def encoder(self) -> Encoder:
        """What makes the feature maps."""
        found: Encoder = self.detector.backbone.encoder
        return found

    def forward(
        self, x: Tensor, targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """float32 [N, 3, H, W], normalized RGB -> losses by name (training, with targets) or detections a picture.

        Targets: boxes float32 [K, 4] (x1 y1 x2 y2, pixels), labels int64 [K], masks uint8 [K, H, W].
        """
        asked = [dict(target) for target in targets] if targets is not None else None
        found: dict[str, Tensor] | list[dict[str, Tensor]] = self.detector(list(torch.unbind(x)), asked)
        return found
